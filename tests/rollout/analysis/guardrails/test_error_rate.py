"""The errors guardrail's arithmetic, with literals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.guardrails.error_rate import GRID, PASS_GRID, ErrorRateGuardrail
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.verdict import VerdictOutcome

ERRORS = ErrorRateGuardrail("errors", EvidenceBounds(0.01, 0.01), 0.01)


def look(stable=0, stable_failed=0, canary=0, canary_failed=0, **how) -> Measurement:
    arms = CountsByArm(Counts((stable,), stable_failed), Counts((canary,), canary_failed))
    return Measurement(Counters({"step": arms}), **how)


def test_one_look_is_the_formula():
    """3 of 40 canary and 1 of 60 stable requests failed: w = 0.4, m = 0.01."""
    test = ERRORS.look(ERRORS.begin(), look(59, 1, 37, 3))

    def factor(r):
        d = 1 + 0.4 * (r - 1)
        return r**3 / d**4 / (1 + 0.4 * 0.6 * (r - 1) * 0.01 / d) ** 100

    good = sum(min(3, factor(q)) for q in PASS_GRID) / len(PASS_GRID)
    assert math.log(good) == pytest.approx(test.wager.log_pass())
    bad = sum(min(200**0.5, factor(r)) for r in GRID) / len(GRID)
    assert math.log((0.75 + 0.0625) * bad + 0.1875) == pytest.approx(test.wager.log_fail())


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("stable_rate", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("odds", [*GRID, *PASS_GRID])
def test_a_factor_has_a_mean_of_one_at_the_margin(odds, stable_rate, share):
    """The chances of a request's four endings, times what each is worth; not over 1 beyond
    the margin on the side that is bet against."""
    d = 1 + share * (odds - 1)
    allowed = 1 + share * (1 - share) * (odds - 1) * ERRORS.margin / d

    def mean(difference):
        c, s = stable_rate + difference, stable_rate
        worth = share * (c * odds / d + 1 - c) + (1 - share) * (s / d + 1 - s)
        return worth / allowed

    assert mean(ERRORS.margin) == pytest.approx(1)
    complies, breaks = (mean(0.0), mean(0.02)) if odds > 1 else (mean(0.02), mean(0.0))
    assert complies < 1 < breaks


def test_half_of_the_requests_failing_is_found_in_two_looks_and_never_in_one():
    once = ERRORS.look(ERRORS.begin(), look(712, 0, 19, 19))
    assert VerdictOutcome.INCONCLUSIVE is ERRORS.assess(once).outcome
    twice = ERRORS.look(once, look(712, 0, 19, 19))
    said = ERRORS.assess(twice)
    assert VerdictOutcome.FAIL is said.outcome
    assert "38 of 76 canary requests failed and 0 of 1424 stable ones, 1 % more may" in said.message
    assert 50 == pytest.approx(said.ratio)


def test_none_failing_passes_after_enough_of_them():
    """(1 - m)^n: some 500 of the canary's, and a grid's price."""
    test, looks = ERRORS.begin(), 0
    while ERRORS.assess(test).outcome is not VerdictOutcome.PASS:
        test = ERRORS.look(test, look(712, 0, 38, 0))
        looks += 1
    assert 460 < 38 * looks < 700


@pytest.mark.parametrize(
    "new", [look(), look(100, 50), look(0, 0, 10, 50), Measurement(Counters())]
)
def test_no_data_in_one_arm_is_no_evidence(new):
    assert ERRORS.begin() == ERRORS.look(ERRORS.begin(), new)


def test_it_does_not_wait_for_warm_up_or_settling():
    judged = ERRORS.look(ERRORS.begin(), look(712, 0, 19, 19, steady=False))
    assert ERRORS.look(ERRORS.begin(), look(712, 0, 19, 19)) == judged


def test_at_100_percent_stables_own_rate_is_what_it_is_held_against():
    """Twice stable's 2 %, and the margin: 5 % may fail, and nothing can pass."""
    known = ERRORS.look(ERRORS.begin(), look(980, 20, 98, 2))
    held = known
    for _ in range(50):
        held = ERRORS.look(held, look(0, 0, 95, 5, alone=True))
    assert VerdictOutcome.INCONCLUSIVE is ERRORS.assess(held).outcome
    assert known.wager.log_pass() == held.wager.log_pass()
    for _ in range(5):
        held = ERRORS.look(held, look(0, 0, 60, 40, alone=True))
    assert VerdictOutcome.FAIL is ERRORS.assess(held).outcome


def test_a_new_step_keeps_the_case_against_and_drops_the_case_for():
    test = ERRORS.look(ERRORS.begin(), look(712, 0, 36, 2))
    stepped = test.next_step()
    assert stepped.wager.log_fail() == pytest.approx(test.wager.log_fail())
    assert (0, 0) == (stepped.wager.log_pass(), ERRORS.assess(stepped).canary)
    assert test.rollout == stepped.rollout


requests = st.integers(0, 10**7)


@given(st.lists(st.tuples(requests, requests, requests, requests, st.booleans()), max_size=8))
def test_no_counts_lead_to_anything_but_numbers(looks):
    test = ERRORS.begin()
    for *counts, alone in looks:
        test = ERRORS.look(test, look(*counts, alone=alone))
        said = ERRORS.assess(test)
        assert math.isfinite(said.log_fail)
        assert math.isfinite(said.log_pass)
