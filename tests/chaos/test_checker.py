"""The judge of the fault tests is proved: with the safety net cut, it says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from msgkit.testing import chaos
from msgkit.testing.chaos import Plan
from msgkit.testing.system import System

pytestmark = [pytest.mark.chaos, pytest.mark.alone, pytest.mark.timeout(400)]

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
