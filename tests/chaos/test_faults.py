"""Everything is killed under load, and no promise breaks; with the safety net cut, the checker says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import chaos as chaos_tool
from msgkit.contracts.ids import new_id
from msgkit.testing import chaos
from msgkit.testing.chaos import Plan
from msgkit.testing.system import System

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(400)]

say = print  # shown with `-s` and beside a failure
MUTANTS = Path(__file__).parent / "mutants"


@pytest.fixture
def started(servers_folder: Path) -> Iterator[Callable[..., System]]:
    """Starts a system of its own for a test that kills it."""
    systems: list[System] = []

    def start(mutant: str | None = None, replicas: int = 1) -> System:
        mutants = {"inbox": MUTANTS / f"{mutant}.py"} if mutant else {}
        system = System(
            servers_folder / f"chaos-{new_id()[:8]}",
            mutants=mutants,
            replicas=dict.fromkeys(chaos.SERVICES, replicas),
        )
        systems.append(system)
        system.start()
        return system

    yield start
    for system in systems:
        system.stop()


def test_every_part_killed_twice_under_load_and_no_promise_breaks(started: Callable[..., System]) -> None:
    system = started()
    plan = Plan(seed=7, messages=800, rate_per_s=25, api_faults=chaos.API_FAULTS)
    outcome = chaos.run(system, plan, say=print)
    assert outcome.verdict.clean, [outcome.verdict.line(), *outcome.verdict.complaints]
    assert len(outcome.kills) == 2 * len(chaos.TARGETS)
    rebuilt = chaos_tool.rebuild(system)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr


FURTHER = tuple(f"{service}-2" for service in chaos.SERVICES)


def test_two_of_each_rolled_out_then_joining_leaving_and_killed_under_load(
    started: Callable[..., System],
) -> None:
    system = started(replicas=2)
    plan = Plan(
        seed=11,
        messages=700,
        rate_per_s=25,
        rolling=4,
        rest_per_s=30,
        kills_each=1,
        targets=(*chaos.SERVICES, *FURTHER),
        leaves=FURTHER,
        api_faults=chaos.API_FAULTS,
    )
    outcome = chaos.run(system, plan, say=say)
    say(f"{outcome.verdict.line()} {outcome.rest} {outcome.webhooks} {outcome.slowest_exit_s:.1f} s")
    assert outcome.verdict.clean, [outcome.verdict.line(), *outcome.verdict.complaints]
    assert len(outcome.kills) == 2 * len(chaos.SERVICES)
    assert len(outcome.left) == plan.rolling + len(FURTHER)
    assert not outcome.unclean_exits
    assert outcome.slowest_exit_s <= chaos_tool.MAX_EXIT_S
    assert outcome.rest.failed_share < chaos_tool.MAX_FAILED_SHARE, outcome.rest
    assert outcome.webhooks.failed_share < chaos_tool.MAX_FAILED_SHARE, outcome.webhooks
    rebuilt = chaos_tool.rebuild(system)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr


CUT = Plan(seed=3, clients=20, messages=400, rate_per_s=40, settle_s=8, answer_every=1000)
"""A short run: MongoDB away, then inbox killed with a batch in hand; every tenth webhook comes twice."""


def test_with_deduplication_off_the_checker_fails(started: Callable[..., System]) -> None:
    system = started("dedup_off")
    plan = Plan(**vars(CUT) | {"targets": (), "api_faults": ({"kind": "duplicate", "probability": 0.1},)})
    outcome = chaos.run(system, plan)
    assert outcome.verdict.duplicated > 0


def test_acknowledging_before_the_write_the_checker_fails(started: Callable[..., System]) -> None:
    system = started("ack_first")
    outcome = chaos.run(system, Plan(**vars(CUT) | {"targets": ("mongodb+inbox",), "kills_each": 1}))
    assert outcome.verdict.lost > 0


def test_the_same_faults_with_the_safety_net_lose_nothing(started: Callable[..., System]) -> None:
    system = started()
    plan = Plan(
        **vars(CUT)
        | {
            "targets": ("mongodb+inbox",),
            "kills_each": 1,
            "settle_s": 60,
            "api_faults": ({"kind": "duplicate", "probability": 0.1},),
        }
    )
    outcome = chaos.run(system, plan)
    assert outcome.verdict.clean, [outcome.verdict.line(), *outcome.verdict.complaints]
