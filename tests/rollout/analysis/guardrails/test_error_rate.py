"""The errors guardrail's arithmetic, with literals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.guardrails.error_rate import FAIL_ODDS, PASS_ODDS, ErrorRateGuardrail
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.verdict import VerdictOutcome
from tests.support.guardrails import make_guardrail

ERRORS = make_guardrail(ErrorRateGuardrail)


def measurement(stable=0, stable_failed=0, canary=0, canary_failed=0, **how) -> Measurement:
    arms = CountsByArm(Counts((stable,), stable_failed), Counts((canary,), canary_failed))
    return Measurement(Counters({"step": arms}), **how)


def test_one_run_is_the_formula():
    """3 of 40 canary and 1 of 60 stable requests failed: w = 0.4, m = 0.01."""
    state = ERRORS.update(ERRORS.initial_state({}), measurement(59, 1, 37, 3))

    def factor(r):
        d = 1 + 0.4 * (r - 1)
        return r**3 / d**4 / (1 + 0.4 * 0.6 * (r - 1) * 0.01 / d) ** 100

    good = sum(min(3, factor(q)) for q in PASS_ODDS) / len(PASS_ODDS)
    assert math.log(good) == pytest.approx(state.e_process.log_pass())
    bad = sum(min(200**0.5, factor(r)) for r in FAIL_ODDS) / len(FAIL_ODDS)
    assert math.log((0.75 + 0.0625) * bad + 0.1875) == pytest.approx(state.e_process.log_fail())


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("stable_rate", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("odds", [*FAIL_ODDS, *PASS_ODDS])
def test_a_factor_has_a_mean_of_one_at_the_margin(odds, stable_rate, share):
    """The chances of a request's four endings, times what each is worth; not over 1 beyond
    the margin on the side that is bet against."""
    d = 1 + share * (odds - 1)
    allowed = 1 + share * (1 - share) * (odds - 1) * ERRORS.config.margin / d

    def mean(difference):
        c, s = stable_rate + difference, stable_rate
        worth = share * (c * odds / d + 1 - c) + (1 - share) * (s / d + 1 - s)
        return worth / allowed

    assert mean(ERRORS.config.margin) == pytest.approx(1)
    complies, breaks = (mean(0.0), mean(0.02)) if odds > 1 else (mean(0.02), mean(0.0))
    assert complies < 1 < breaks


def test_half_of_the_requests_failing_is_found_in_two_runs_and_never_in_one():
    once = ERRORS.update(ERRORS.initial_state({}), measurement(712, 0, 19, 19))
    assert VerdictOutcome.INCONCLUSIVE is ERRORS.assess(once).outcome
    twice = ERRORS.update(once, measurement(712, 0, 19, 19))
    verdict = ERRORS.assess(twice)
    assert VerdictOutcome.FAIL is verdict.outcome
    assert (
        "canary: 38 of 76 requests failed, stable: 0 of 1424, allowed difference: 1 %"
    ) in verdict.message
    assert 50 == pytest.approx(verdict.ratio)


def test_a_canary_without_failures_passes_after_enough_requests():
    """(1 - m)^n: some 500 canary requests, and the price of the grid."""
    state, runs = ERRORS.initial_state({}), 0
    while ERRORS.assess(state).outcome is not VerdictOutcome.PASS:
        state = ERRORS.update(state, measurement(712, 0, 38, 0))
        runs += 1
    assert 460 < 38 * runs < 700


@pytest.mark.parametrize(
    "new", [measurement(), measurement(100, 50), measurement(0, 0, 10, 50), Measurement(Counters())]
)
def test_no_data_in_one_arm_is_no_evidence(new):
    assert ERRORS.initial_state({}) == ERRORS.update(ERRORS.initial_state({}), new)


def test_it_does_not_wait_for_warm_up_or_settling():
    judged = ERRORS.update(ERRORS.initial_state({}), measurement(712, 0, 19, 19, settled=False))
    assert ERRORS.update(ERRORS.initial_state({}), measurement(712, 0, 19, 19)) == judged


def test_at_100_percent_the_canary_is_compared_with_stables_known_rate():
    """Twice stable's 2 %, and the margin: 5 % may fail, and nothing can pass."""
    known = ERRORS.update(ERRORS.initial_state({}), measurement(980, 20, 98, 2))
    held = known
    for _ in range(50):
        held = ERRORS.update(held, measurement(0, 0, 95, 5, canary_only=True))
    assert VerdictOutcome.INCONCLUSIVE is ERRORS.assess(held).outcome
    assert known.e_process.log_pass() == held.e_process.log_pass()
    for _ in range(5):
        held = ERRORS.update(held, measurement(0, 0, 60, 40, canary_only=True))
    assert VerdictOutcome.FAIL is ERRORS.assess(held).outcome


def test_a_new_step_keeps_the_case_against_and_drops_the_case_for():
    state = ERRORS.update(ERRORS.initial_state({}), measurement(712, 0, 36, 2))
    stepped = state.next_step()
    assert stepped.e_process.log_fail() == pytest.approx(state.e_process.log_fail())
    assert (0, 0) == (stepped.e_process.log_pass(), ERRORS.assess(stepped).canary)
    assert state.rollout == stepped.rollout


requests = st.integers(0, 10**7)


@given(st.lists(st.tuples(requests, requests, requests, requests, st.booleans()), max_size=8))
def test_any_counts_give_finite_evidence(runs):
    state = ERRORS.initial_state({})
    for *counts, canary_only in runs:
        state = ERRORS.update(state, measurement(*counts, canary_only=canary_only))
        verdict = ERRORS.assess(state)
        assert math.isfinite(verdict.log_fail)
        assert math.isfinite(verdict.log_pass)
