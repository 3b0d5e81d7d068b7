"""The e-process: its stakes, its clip and its bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rollout.analysis.e_process import (
    PASS_LOG_CLIP,
    EProcess,
    EvidenceBounds,
    alpha_share,
    log_binomial_factor,
)
from service.rollout.analysis.verdict import VerdictOutcome

BOUNDS = EvidenceBounds(fail=0.01, passing=0.01)


def test_it_starts_at_a_capital_of_one():
    assert 0.0 == pytest.approx(EProcess.initial(3, 2).log_fail())
    assert 0.0 == EProcess.initial(3, 2).log_pass()


@given(st.lists(st.booleans(), max_size=50))
def test_without_evidence_placing_stakes_keeps_the_capital(steps):
    """Whatever the order of evaluations and steps: the stakes sum to 1."""
    process = EProcess.initial(2, 2)
    for step in steps:
        process = process.next_step() if step else process.update([0.0] * 2, [0.0] * 2, BOUNDS)
        assert 0.0 == pytest.approx(process.log_fail(), abs=1e-9)


@pytest.mark.parametrize(
    ("alpha", "evaluations"), [(0.1, 2), (0.01, 2), (1e-9, 2), (0.0075, 8), (0.001, 8), (1e-9, 8)]
)
def test_a_fail_takes_the_minimum_of_evaluations_and_no_more(alpha, evaluations):
    bounds, process = EvidenceBounds(alpha, alpha), EProcess.initial(1, 1)
    for number in range(1, evaluations + 1):
        process = process.update([999.0], [0.0], bounds, min_evaluations=evaluations)
        failed = bounds.assess(process)[0] is VerdictOutcome.FAIL
        assert failed is (number == evaluations)


def test_a_pass_is_clipped_and_holds_for_its_step():
    process = EProcess.initial(1, 1).update([0.0], [999.0], BOUNDS)
    assert PASS_LOG_CLIP == pytest.approx(process.log_pass())
    for _ in range(4):
        process = process.update([0.0], [999.0], BOUNDS)
    lower = process.update([0.0], [-9.0], BOUNDS)
    assert VerdictOutcome.PASS is BOUNDS.assess(lower)[0]
    assert VerdictOutcome.INCONCLUSIVE is BOUNDS.assess(lower.next_step())[0]


def test_the_text_shows_the_evidence_and_the_bounds():
    assert (
        "ln E = 0.00 < ln(1/0.01) = 4.61 for a fail and 0.00 < ln(1/0.05) = 3.00 for a pass"
    ) == EvidenceBounds(0.01, 0.05).assess(EProcess((0.0,), (0.0,), 10**6, 10**6))[1]


@pytest.mark.parametrize("odds", [0.2, 1.5, 10.0])
def test_a_binomial_factor_has_a_mean_of_one_at_the_rate(odds):
    rate, trials = 0.05, 6
    mean = sum(
        math.comb(trials, marked)
        * rate**marked
        * (1 - rate) ** (trials - marked)
        * math.exp(log_binomial_factor(rate, marked, trials, odds))
        for marked in range(trials + 1)
    )
    assert 1.0 == pytest.approx(mean)


def test_the_shares_of_alpha_sum_to_one():
    assert [0.75, 1 / 8, 1 / 24, 1 / 48] == pytest.approx([alpha_share(k) for k in range(1, 5)])
    assert 1.0 == pytest.approx(sum(map(alpha_share, range(1, 100_000))), abs=1e-4)
