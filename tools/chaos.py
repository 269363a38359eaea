"""`make chaos SEED= SCALE=`: the fault test at any size with the verdict of the ledger; exit 1 if broken."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from msgkit.testing import chaos
from msgkit.testing.chaos import Plan
from msgkit.testing.system import System


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same kills and faults")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="1 is 2,000 messages and two kills of each part"
    )
    parser.add_argument("--folder", type=Path, help="keep data and logs here")
    arguments = parser.parse_args()
    plan = Plan(seed=arguments.seed, api_faults=chaos.API_FAULTS)
    plan = replace(
        plan,
        messages=max(plan.clients, int(plan.messages * arguments.scale)),
        kills_each=max(1, round(plan.kills_each * arguments.scale)),
    )
    with tempfile.TemporaryDirectory(prefix="rozmova-chaos-") as temporary:
        system = System(arguments.folder or Path(temporary))
        print(f"{plan.messages} messages of {plan.clients} clients, seed {plan.seed}; starting …", flush=True)
        try:
            system.start()
            outcome = chaos.run(system, plan, say=lambda line: print(line, flush=True))
            rebuilt = rebuild(system)
        finally:
            system.stop()
    print(outcome.verdict.line())
    print(
        f"kills={len(outcome.kills)} resumes={outcome.resumes} resyncs={outcome.resyncs} gaps={outcome.gaps}"
    )
    for complaint in outcome.verdict.complaints:
        print(f"  {complaint}")
    print(rebuilt.stdout.strip())
    return 0 if outcome.verdict.clean and rebuilt.returncode == 0 else 1


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
