"""Everything is killed under load, and no promise breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import chaos as chaos_tool
from msgkit.testing import chaos
from msgkit.testing.chaos import Plan
from msgkit.testing.system import System

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(400)]


def test_every_part_killed_twice_under_load_and_no_promise_breaks(started: Callable[..., System]) -> None:
    system = started()
    plan = Plan(seed=7, messages=800, rate_per_s=25, api_faults=chaos.API_FAULTS)
    outcome = chaos.run(system, plan, say=print)
    assert outcome.verdict.clean, [outcome.verdict.line(), *outcome.verdict.complaints]
    assert len(outcome.kills) == 2 * len(chaos.TARGETS)
    rebuilt = chaos_tool.rebuild(system)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
