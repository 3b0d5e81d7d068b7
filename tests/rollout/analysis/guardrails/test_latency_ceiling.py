"""The ceiling's arithmetic, with literals."""

from __future__ import annotations

import math

import pytest

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.guardrails.config import LatencyBound, LatencyCeilingConfig
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency_ceiling import (
    GRID,
    PASS_GRID,
    LatencyCeilingGuardrail,
)
from service.rollout.analysis.verdict import VerdictOutcome
from service.types import Mode
from tests.support.rollout_fakes import EDGES, bucket_counts

CEILING = LatencyCeilingGuardrail(
    "ceiling", EvidenceBounds(0.01, 0.01), LatencyCeilingConfig(enabled=True), 0.95, EDGES
)


def look(*seconds, mode="step", faults=0, **how) -> Measurement:
    arms = CountsByArm(bucket_counts([9.0] * 10), bucket_counts(seconds, faults))
    return Measurement(Counters({mode: arms}), **how)


def test_one_look_is_the_formula():
    """Of 100 requests 8 are over 10 ms and 13 over 5 ms, where 5 may be."""
    test = CEILING.look(CEILING.begin(), look(*[0.001] * 87, *[0.008] * 5, *[0.02] * 6, faults=2))
    bad = [min(200**0.5, r**8 / (1 + 0.05 * (r - 1)) ** 100) for r in GRID]
    good = [min(3, q**13 / (1 + 0.05 * (q - 1)) ** 100) for q in PASS_GRID]
    assert math.log(0.8125 * sum(bad) / len(GRID) + 0.1875) == pytest.approx(test.wager.log_fail())
    assert math.log(sum(good) / len(PASS_GRID)) == pytest.approx(test.wager.log_pass())


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.004, "pass"), (0.008, "inconclusive"), (0.02, "fail")]
)
def test_within_the_aim_it_passes_over_the_bound_it_fails_and_between_neither(seconds, expected):
    test = CEILING.begin()
    for _ in range(20):
        test = CEILING.look(test, look(*[seconds] * 50))
    said = CEILING.assess(test)
    assert expected == said.outcome
    assert 1000 == said.canary
    assert said.message.startswith(f"{expected}: ln E ")


def test_bounds_are_rounded_to_the_edges_that_favour_neither_verdict():
    """And the words say to which."""
    said = CEILING.assess(CEILING.look(CEILING.begin(), look(*[0.0101] * 20)))
    assert (
        "step: of 20 canary requests 0 failed or took longer than 10.2 ms and 20 than 4.9 ms, "
        "where 0.05 of them may"
    ) in said.message or "than 10.1 ms" in said.message
    (mode,) = said.details["modes"]
    assert 0.01 <= mode["roll_back_seconds"] < 0.01 * 1.0955
    assert 0.005 / 1.0955 < mode["aim_seconds"] <= 0.005


def test_a_bound_beyond_the_buckets_is_what_the_deadline_makes_of_it():
    """The last edge lies above every request that was answered at all."""
    bounds = {Mode.STEP: LatencyBound(aim_seconds=0.000_1, roll_back_seconds=99.0)}
    ceiling = LatencyCeilingGuardrail(
        "ceiling",
        EvidenceBounds(0.01, 0.01),
        LatencyCeilingConfig(enabled=True, modes=bounds),
        0.95,
        EDGES,
    )
    test = ceiling.look(ceiling.begin(), look(*[9.0] * 50, faults=3))
    assert (3, 53) == (test.step["step"].over_roll_back, test.step["step"].over_aim)


@pytest.mark.parametrize(
    "new", [look(), look(0.02, mode="prefill"), look(0.02, steady=False), Measurement(Counters())]
)
def test_what_it_has_no_bound_or_no_canary_for_it_does_not_judge(new):
    assert CEILING.begin() == CEILING.look(CEILING.begin(), new)


def test_it_judges_at_100_percent_too():
    """Its bound needs no stable arm."""
    test = CEILING.begin()
    for _ in range(3):
        test = CEILING.look(test, look(*[0.02] * 50, alone=True))
    assert VerdictOutcome.FAIL is CEILING.assess(test).outcome


def test_a_new_step_keeps_the_case_against_and_drops_the_case_for():
    test = CEILING.begin()
    for _ in range(10):
        test = CEILING.look(test, look(*[0.004] * 50))
    stepped = test.next_step()
    assert VerdictOutcome.PASS is CEILING.assess(test).outcome
    assert VerdictOutcome.INCONCLUSIVE is CEILING.assess(stepped).outcome
    assert stepped.wager.log_fail() == pytest.approx(test.wager.log_fail())
