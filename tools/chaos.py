"""`make chaos`, SEED= SCALE= REPLICAS= ROLLING= OUTAGE=: faults at any size; exit 1 if a promise breaks."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import spool_outage
from msgkit.testing import chaos
from msgkit.testing.chaos import Plan
from msgkit.testing.system import System

SECONDS_PER_RESTART = 6.0
MAX_EXIT_S = 30.0
MAX_FAILED_SHARE = 0.001
"""Of REST calls and of webhooks, while everything is restarted."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same kills and faults")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="1 is 2,000 messages and two kills of each part"
    )
    parser.add_argument(
        "--replicas", type=int, default=1, help="of every service; 2 lets them join and leave"
    )
    parser.add_argument(
        "--rolling", type=int, default=0, help="instead of kills: so many restarts by SIGTERM under load"
    )
    parser.add_argument(
        "--outage", type=float, default=0.0, help="instead: RabbitMQ away for so many minutes under Viber"
    )
    parser.add_argument("--folder", type=Path, help="keep data and logs here")
    arguments = parser.parse_args()
    if arguments.outage:
        return spool_outage.main(["--minutes", str(arguments.outage)])
    replicas = max(arguments.replicas, 2 if arguments.rolling else 1)
    plan = rolling(arguments) if arguments.rolling else kills(arguments)
    with tempfile.TemporaryDirectory(prefix="rozmova-chaos-") as temporary:
        system = System(arguments.folder or Path(temporary), replicas=dict.fromkeys(chaos.SERVICES, replicas))
        print(
            f"{plan.messages} messages of {plan.clients} clients, {replicas} of each service, "
            f"seed {plan.seed}; starting …",
            flush=True,
        )
        try:
            system.start()
            outcome = chaos.run(system, plan, say=lambda line: print(line, flush=True))
            rebuilt = rebuild(system)
        finally:
            system.stop()
    return report(plan, outcome, rebuilt)


def kills(arguments: argparse.Namespace) -> Plan:
    """Every process killed again and again; with replicas, each of them, and the further ones come and go."""
    plan = Plan(seed=arguments.seed, api_faults=chaos.API_FAULTS)
    times = max(1, round(plan.kills_each * arguments.scale))
    further = [
        f"{service}-{number}" for service in chaos.SERVICES for number in range(2, arguments.replicas + 1)
    ]
    return replace(
        plan,
        messages=max(plan.clients, int(plan.messages * arguments.scale)),
        kills_each=times,
        targets=(*chaos.TARGETS, *further),
        leaves=further * times,
    )


def rolling(arguments: argparse.Namespace) -> Plan:
    """Restarts one after the other while clients write, operators answer and windows read."""
    return Plan(
        seed=arguments.seed,
        rate_per_s=25,
        messages=int(arguments.rolling * SECONDS_PER_RESTART * 25),
        targets=(),
        rolling=arguments.rolling,
        rest_per_s=30,
    )


def report(plan: Plan, outcome: chaos.Run, rebuilt: subprocess.CompletedProcess[str]) -> int:
    """Print the verdict and all figures; the exit code."""
    print(outcome.verdict.line())
    print(
        f"kills={len(outcome.kills)} leaves={len(outcome.left)} resumes={outcome.resumes} "
        f"resyncs={outcome.resyncs} gaps={outcome.gaps}"
    )
    for complaint in outcome.verdict.complaints:
        print(f"  {complaint}")
    print(rebuilt.stdout.strip())
    broken = not outcome.verdict.clean or rebuilt.returncode != 0
    for name, tally in (("rest", outcome.rest), ("webhooks", outcome.webhooks)):
        print(
            f"{name}: calls={tally.calls} 5xx={tally.server_errors} broken={tally.broken} "
            f"repeated={tally.repeated} failed={tally.failed_share:.3%}"
        )
    if outcome.left:
        print(f"slowest exit {outcome.slowest_exit_s:.1f} s, unclean exits {len(outcome.unclean_exits)}")
        broken |= bool(outcome.unclean_exits) or outcome.slowest_exit_s > MAX_EXIT_S
    if plan.rolling:
        print(f"restarts {plan.rolling}, {outcome.restarts_under_load} of them while clients wrote")
        failed = max(outcome.rest.failed_share, outcome.webhooks.failed_share)
        broken |= failed >= MAX_FAILED_SHARE
    return 1 if broken else 0


def rebuild(system: System) -> subprocess.CompletedProcess[str]:
    """Run `rozmova rebuild` as an operator would: fold every log again and compare."""
    return subprocess.run(
        [sys.executable, "-m", "inbox.cli", "rebuild"],
        env=system.parts["inbox"].environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


if __name__ == "__main__":
    sys.exit(main())
