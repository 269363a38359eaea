"""The judge of the fault tests is proved: with the safety net cut, it says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from msgkit.testing import chaos
from msgkit.testing.chaos import Plan
from msgkit.testing.demo import SPARE_BOTS
from msgkit.testing.system import System

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(400)]

MUTANTS = Path(__file__).parent / "mutants"
CALM = Plan(seed=3, clients=20, messages=400, rate_per_s=80, settle_s=8, answer_every=1000, targets=())
"""A short run in which nothing is killed."""
KILLED = replace(CALM, targets=("mongodb+inbox",), kills_each=1)
"""MongoDB away, then inbox killed with a batch in hand."""
TWICE = ({"kind": "duplicate", "probability": 0.1},)
"""Every tenth webhook comes again."""

Judge = Callable[..., chaos.Run]


@pytest.fixture(scope="module")
def system(started: Callable[..., System]) -> System:
    return started()


@pytest.fixture
def judge(system: System) -> Iterator[Judge]:
    """Runs a plan with a bot nobody has written to, and with a mutant of inbox if one is named."""

    def run(plan: Plan, bot: dict[str, str], *, mutant: str = "") -> chaos.Run:
        channel = system.connect_channel("salon", "telegram_bot", bot["token"])
        if mutant:
            system.run_instead("inbox", MUTANTS / f"{mutant}.py")
        return chaos.run(system, plan, channel_id=channel["id"])

    yield run
    system.run_instead("inbox", None)


def test_the_faults_with_the_safety_net_lose_nothing(judge: Judge) -> None:
    outcome = judge(replace(KILLED, settle_s=60, api_faults=TWICE), SPARE_BOTS[0])
    assert len(outcome.kills) == 1
    assert outcome.verdict.clean, [outcome.verdict.line(), *outcome.verdict.complaints]


def test_with_deduplication_off_the_checker_fails(judge: Judge) -> None:
    outcome = judge(replace(CALM, api_faults=TWICE), SPARE_BOTS[1], mutant="dedup_off")
    assert outcome.verdict.duplicated > 0


def test_acknowledging_before_the_write_the_checker_fails(judge: Judge) -> None:
    outcome = judge(KILLED, SPARE_BOTS[2], mutant="ack_first")
    assert outcome.verdict.lost > 0
