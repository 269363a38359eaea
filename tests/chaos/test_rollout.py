"""A new version is rolled out, replicas leave, join and are killed under load, and no promise breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import chaos as chaos_tool
from msgkit.testing import chaos
from msgkit.testing.chaos import Plan
from msgkit.testing.system import System

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(400)]

say = print  # shown with `-s` and beside a failure
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
