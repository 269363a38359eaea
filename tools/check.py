"""Every fast check; all are run, each failure is told at once and named at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy"))
from window import WEB, find_node  # noqa: E402 - the path comes first

_BIN = Path(sys.executable).parent


def main() -> int:
    """Runs the checks, the tests beside all others, and returns 1 when one failed."""
    os.chdir(ROOT)
    checks: dict[str, list[str]] = {
        "format": [str(_BIN / "ruff"), "format", "--check", "."],
        "lint": [str(_BIN / "ruff"), "check", "."],
        "house rules": [sys.executable, "tools/check_house.py"],
        "floors": [str(_BIN / "lint-imports")],
        "types": [str(_BIN / "mypy"), "libs", "services", "deploy", "tools", "tests"],
    }
    # By what is left out: a folder named is imported by the process that only hands out tests, too.
    without = [f"--ignore=tests/{folder}" for folder in ("browser", "chaos", "e2e", "integration")]
    tests = [sys.executable, "-m", "pytest", "-n", "3", "--dist", "loadscope", *without, "tests"]
    with ThreadPoolExecutor(1) as beside:
        tested = beside.submit(_passes, "tests", tests)
        failed = [name for name, command in checks.items() if not _passes(name, command)]
        if (WEB / "node_modules").exists():
            failed += [
                name
                for name in ("types", "test")
                if not _passes(f"window: {name}", ["run", "--silent", name])
            ]
        failed += [] if tested.result() else ["tests"]
    print(f"\ncheck: {', '.join(failed)} failed." if failed else "\ncheck: all passed.")
    return 1 if failed else 0


def _passes(name: str, command: list[str]) -> bool:
    began = time.monotonic()
    if name.startswith("window"):
        done = find_node().run(*command)
    else:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    good = done.returncode == 0
    complaint = "" if good else f"\n{done.stdout}{done.stderr}"
    print(f"{'ok  ' if good else 'FAIL'} {name:<14} {time.monotonic() - began:5.1f} s{complaint}", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
