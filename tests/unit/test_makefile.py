"""The Makefile: every command of the contract is there and `make help` lists each with its sentence."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = {"up", "down", "status", "logs", "reset", "test", "check", "bench", "chaos"}


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _make(*words: str) -> str:
    # `make check` runs this test: its own variables are not for the make asked here.
    passed_on = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "SCALE", "SEED", "S")
    environment = {key: value for key, value in os.environ.items() if key not in passed_on}
    done = subprocess.run(
        ["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_command_of_the_contract_is_a_target() -> None:
    assert _targets() >= CONTRACT


def test_help_lists_every_target_with_a_sentence() -> None:
    lines = dict(line.split(None, 1) for line in _make("help").splitlines())
    assert lines.keys() == _targets()
    assert all(len(sentence) >= 9 for sentence in lines.values())


def test_no_target_is_shadowed_by_a_file() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == _targets()


def test_chaos_passes_seed_and_scale() -> None:
    assert "--seed 7 --scale 3" in _make("--dry-run", "chaos", "SEED=7", "SCALE=3")
    assert "--seed 1 --scale 1" in _make("--dry-run", "chaos")


def test_continuous_integration_runs_check_and_test() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make check", "make test"]
