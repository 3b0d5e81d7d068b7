"""The ceiling's arithmetic, with literals."""

from __future__ import annotations

import math

import pytest

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.formatting import format_seconds
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency_ceiling import (
    FAIL_ODDS,
    PASS_ODDS,
    LatencyCeilingGuardrail,
    LatencyLimits,
)
from service.rollout.analysis.verdict import VerdictOutcome
from service.types import Mode
from tests.support.guardrails import make_guardrail
from tests.support.rollout_fakes import bucket_counts

CEILING = make_guardrail(LatencyCeilingGuardrail, enabled=True)


def measurement(*seconds, mode="step", faults=0, **how) -> Measurement:
    arms = CountsByArm(bucket_counts([9.0] * 10), bucket_counts(seconds, faults))
    return Measurement(Counters({mode: arms}), **how)


def test_one_run_is_the_formula():
    """Of 100 requests 8 are over 10 ms and 13 over 5 ms, where 5 may be."""
    state = CEILING.update(
        CEILING.initial_state({}), measurement(*[0.001] * 87, *[0.008] * 5, *[0.02] * 6, faults=2)
    )
    bad = [min(200**0.5, r**8 / (1 + 0.05 * (r - 1)) ** 100) for r in FAIL_ODDS]
    good = [min(3, q**13 / (1 + 0.05 * (q - 1)) ** 100) for q in PASS_ODDS]
    assert math.log(0.8125 * sum(bad) / len(FAIL_ODDS) + 0.1875) == pytest.approx(
        state.e_process.log_fail()
    )
    assert math.log(sum(good) / len(PASS_ODDS)) == pytest.approx(state.e_process.log_pass())


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.004, "pass"), (0.008, "inconclusive"), (0.02, "fail")]
)
def test_it_passes_within_the_aim_and_fails_above_the_limit(seconds, expected):
    state = CEILING.initial_state({})
    for _ in range(20):
        state = CEILING.update(state, measurement(*[seconds] * 50))
    verdict = CEILING.assess(state)
    assert expected == verdict.outcome
    assert 1000 == verdict.canary
    assert verdict.message.startswith(f"{expected}: ln E ")


def test_limits_are_rounded_to_the_edges_that_favour_neither_verdict():
    """The message shows the edges. 10.05 ms is above the configured limit, but not its edge."""
    verdict = CEILING.assess(
        CEILING.update(CEILING.initial_state({}), measurement(*[0.01005] * 20))
    )
    (mode,) = verdict.details["modes"]
    limit, aim = (format_seconds(mode[name]) for name in ("roll_back_seconds", "aim_seconds"))
    assert (
        f"step: of 20 canary requests, 0 failed or were slower than the limit of {limit} "
        f"and 20 than the aim of {aim}; 5 % may be"
    ) in verdict.message
    assert 0.01 <= mode["roll_back_seconds"] < 0.01 * 1.0955
    assert 0.005 / 1.0955 < mode["aim_seconds"] <= 0.005


def test_a_limit_beyond_the_buckets_counts_failed_requests():
    """The last edge lies above every request that was answered at all."""
    bounds = {Mode.STEP: LatencyLimits(aim_seconds=0.000_1, roll_back_seconds=99.0)}
    ceiling = make_guardrail(LatencyCeilingGuardrail, enabled=True, modes=bounds)
    state = ceiling.update(ceiling.initial_state({}), measurement(*[9.0] * 50, faults=3))
    assert (3, 53) == (state.step["step"].over_roll_back, state.step["step"].over_aim)


@pytest.mark.parametrize(
    "new",
    [
        measurement(),
        measurement(0.02, mode="prefill"),
        measurement(0.02, settled=False),
        Measurement(Counters()),
    ],
)
def test_modes_without_limits_or_canary_requests_are_not_judged(new):
    assert CEILING.initial_state({}) == CEILING.update(CEILING.initial_state({}), new)


def test_it_judges_at_100_percent_too():
    """Its bound needs no stable arm."""
    state = CEILING.initial_state({})
    for _ in range(3):
        state = CEILING.update(state, measurement(*[0.02] * 50, canary_only=True))
    assert VerdictOutcome.FAIL is CEILING.assess(state).outcome


def test_a_new_step_keeps_the_case_against_and_drops_the_case_for():
    state = CEILING.initial_state({})
    for _ in range(10):
        state = CEILING.update(state, measurement(*[0.004] * 50))
    stepped = state.next_step()
    assert VerdictOutcome.PASS is CEILING.assess(state).outcome
    assert VerdictOutcome.INCONCLUSIVE is CEILING.assess(stepped).outcome
    assert stepped.e_process.log_fail() == pytest.approx(state.e_process.log_fail())
