"""One command line for the whole system: `up down status logs reset doctor setup` (the Makefile calls it)."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from bootstrap import ROOT, VENV, VENV_PYTHON, Problem, ensure_venv, folder_lock, require_python, say

if TYPE_CHECKING:
    from state import Ports


def main() -> int:
    """Runs one command; what a person has to mend is said in words, exit code 1."""
    parser = argparse.ArgumentParser(prog="deploy/up.py", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "logs", "reset", "doctor", "setup"])
    parser.add_argument("--for", dest="purpose", choices=["check", "test"], default="check", help="of setup")
    arguments = parser.parse_args()
    try:
        require_python()
        if arguments.command in ("down", "status", "logs", "reset") and not (ROOT / ".rozmova").exists():
            say("Nothing runs here: `make up` starts it.")
            return 0
        ensure_venv()
        if os.path.realpath(sys.prefix) != os.path.realpath(VENV):
            # The second stage is the same command inside .venv, where the locked packages are.
            os.execv(VENV_PYTHON, [str(VENV_PYTHON), *sys.argv])  # noqa: S606
        return _run(arguments.command, arguments.purpose)
    except Problem as problem:
        print(f"\nmake {arguments.command}: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(command: str, purpose: str) -> int:
    if command == "up":
        return _up()
    if command == "status":
        return _status()
    if command == "logs":
        return _logs(os.environ.get("S", ""))
    if command == "setup":
        return _setup(purpose)
    if command == "doctor":
        from doctor import examine

        return examine()
    return _down(delete=command == "reset")


def _setup(purpose: str) -> int:
    import debian
    import window

    window.ensure_dependencies()
    if purpose == "test":
        if "RABBITMQ_URL" not in os.environ:
            debian.ensure_rabbitmq()
        if "MONGO_URL" not in os.environ:
            debian.ensure_mongod_libraries()
        debian.ensure_browser()
        window.ensure_built()
    return 0


def _up() -> int:
    import demo
    import demo_people
    import infrastructure
    import roster
    import supervision
    import window
    from state import STATE, Secrets

    began = time.monotonic()
    scale = roster.parse_scale(os.environ.get("SCALE", ""))
    (STATE / "data").mkdir(parents=True, exist_ok=True)
    with folder_lock(STATE):
        ports = _ports_of_this_up()
        ports.remember()
        secrets = Secrets.load()
        window.ensure_built()
        addresses = infrastructure.start(ports, secrets)
        demo_people.write_users_file(secrets)
        processes = roster.plan(ports, secrets, addresses, scale)
        supervision.apply(processes)
        supervision.wait_until_ready(processes)
        missing = [service.name for service in roster.SERVICES if not service.exists]
        if missing:
            say(f"Ready in {time.monotonic() - began:.0f} s, without {', '.join(missing)}: no sources here.")
            return 0
        demo.prepare(ports, secrets)
    say(f"Ready in {time.monotonic() - began:.0f} s.")
    demo.print_addresses()
    return 0


def _ports_of_this_up() -> Ports:
    import infrastructure
    import supervision
    from state import Ports

    running = any((supervision.supervisord().pid, infrastructure.broker().pid, infrastructure.database().pid))
    ports = Ports.from_environment(running=running)
    base = ports.last_base()
    if running and base not in (None, ports.base):
        raise Problem(f"The system runs with ROZMOVA_PORT_BASE={base}. To move it: make down, then make up")
    return ports


def _down(*, delete: bool) -> int:
    import infrastructure
    import supervision
    from state import STATE

    with folder_lock(STATE):
        stopped = ["the services"] if supervision.stop() else []
        stopped += infrastructure.stop(delete=delete)
        say(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")
        if delete:
            shutil.rmtree(STATE)
            say("Deleted .rozmova: the next `make up` begins with an empty system.")
            if "RABBITMQ_URL" in os.environ or "MONGO_URL" in os.environ:
                say("What is in the servers of RABBITMQ_URL and MONGO_URL stays: delete it there.")
    return 0


def _status() -> int:
    import infrastructure
    import supervision

    say(f"{'what':<18} {'state':<32} version")
    for name, state, version in infrastructure.describe():
        say(f"{name:<18} {state:<32} {version}")
    rows = supervision.running_processes()
    say(f"\n{'service':<18} {'state':<10} {'pid':>7} {'up':>8} {'restarts':>8}  address")
    for row in rows:
        up = f"{row.up_seconds // 3600}:{row.up_seconds // 60 % 60:02}:{row.up_seconds % 60:02}"
        address = supervision.addresses_of(row.name)
        say(f"{row.name:<18} {row.state:<10} {row.pid or '':>7} {up:>8} {row.restarts:>8}  {address}")
    if not rows:
        say("no service runs: make up")
    return 0


def _logs(service: str) -> int:
    import infrastructure
    import supervision
    from state import STATE

    files = {path.stem: path for path in sorted((STATE / "log").glob("*.log"))}
    files |= {"rabbitmq": infrastructure.broker().log_file, "mongodb": infrastructure.database().log_file}
    if service and service not in files and not supervision.log_of(service).exists():
        raise Problem(
            f"No log of {service!r}. There are: {', '.join(sorted(files))}. Example: make logs S=inbox"
        )
    services_only = [
        path for name, path in files.items() if name not in ("rabbitmq", "mongodb", "supervisord")
    ]
    chosen = [files[service]] if service else services_only
    os.execvp("tail", ["tail", "-n", "50", "-F", *map(str, chosen)])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
