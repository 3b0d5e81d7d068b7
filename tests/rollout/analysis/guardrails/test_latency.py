"""The latency guardrail's arithmetic, with literals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency import (
    FAIL_ODDS,
    PASS_ODDS,
    LatencyGuardrail,
    LatencyState,
)
from service.rollout.analysis.guardrails.latency_stratum import ThresholdGap
from service.rollout.analysis.verdict import VerdictOutcome
from tests.support.guardrails import make_guardrail
from tests.support.rollout_fakes import EDGES, bucket_counts

LATENCY = make_guardrail(LatencyGuardrail, baseline_samples=100)
FAST, SLOW = 0.1, 0.5
BASELINE = CountsByArm(bucket_counts([FAST] * 96 + [SLOW] * 4), bucket_counts([]))


def arms(stable=0, stable_slow=0, canary=0, canary_slow=0, **faults) -> dict[str, CountsByArm]:
    return {
        "step": CountsByArm(
            bucket_counts([FAST] * stable + [SLOW] * stable_slow, faults.get("stable_faults", 0)),
            bucket_counts([FAST] * canary + [SLOW] * canary_slow, faults.get("canary_faults", 0)),
        )
    }


def see(state, new, *, latency=True, canary_only=False):
    return LATENCY.update(
        state, Measurement(Counters(new), settled=latency, canary_only=canary_only)
    )


def known() -> LatencyState:
    """τ is known: the edge over 0.1 s."""
    return see(LATENCY.initial_state({}), {"step": BASELINE})


def test_it_starts_without_evidence():
    assert 0.0 == pytest.approx(LATENCY.initial_state({}).e_process.log_fail())
    assert 0.0 == LATENCY.initial_state({}).e_process.log_pass()


def test_one_run_is_the_formula():
    """a = 3 of 40 canary, b = 5 of 60 stable requests: w = 0.4."""
    a, b, w = 3, 5, 0.4
    state = see(known(), arms(stable=55, stable_slow=5, canary=37, canary_slow=3))
    good = [min(3, (1 / r) ** a / (1 + w * (1 / r - 1)) ** (a + b)) for r in PASS_ODDS]
    bad = [min(200**0.5, r**a / (1 + w * (r - 1)) ** (a + b)) for r in FAIL_ODDS]
    assert math.log(sum(good) / len(PASS_ODDS)) == pytest.approx(state.e_process.log_pass())
    # 3/4 and the first run's 1/16 are placed; 1/16 for runs and 1/8 for steps are reserved.
    fail = (0.75 + 0.0625) * sum(bad) / len(FAIL_ODDS) + 0.0625 + 0.125
    assert math.log(fail) == pytest.approx(state.e_process.log_fail())


def test_a_run_cannot_be_worth_more_than_its_clip():
    """However many requests a stall hit."""
    state = see(known(), arms(stable=1000, canary=0, canary_slow=1000))
    assert (math.log(0.8125) + math.log(200) / 2,) * len(FAIL_ODDS) == pytest.approx(
        state.e_process.failing
    )
    assert state.e_process.log_fail() < LATENCY.bounds.log_fail


@pytest.mark.parametrize("alpha", [0.1, 0.01, 1e-9])
def test_no_run_decides_alone_and_two_that_agree_do(alpha):
    bounds = EvidenceBounds(alpha, alpha)
    latency = LatencyGuardrail(LATENCY.config, LATENCY.parameters, bounds)
    broken = Measurement(Counters(arms(stable=1000, canary_slow=1000)))
    once = latency.update(known(), broken)
    assert VerdictOutcome.INCONCLUSIVE is latency.assess(once).outcome
    twice = latency.update(once, broken)
    assert VerdictOutcome.FAIL is latency.assess(twice).outcome


def test_factors_multiply_over_modes_before_the_clip():
    one = arms(stable=95, stable_slow=5, canary=95, canary_slow=5)["step"]
    alone = see(known(), {"step": one})
    both_known = see(LATENCY.initial_state({}), {"step": BASELINE, "prefill": BASELINE})
    both = see(both_known, {"step": one, "prefill": one})
    assert [2 * p for p in alone.e_process.passing] == pytest.approx(both.e_process.passing)


def test_tau_comes_from_earlier_runs_only():
    """A run's own stable requests must not choose its threshold."""
    before = LATENCY.initial_state({})
    state = see(before, arms(stable=1000, canary=10, canary_slow=90))
    assert before.e_process == state.e_process
    assert 0 == state.strata["step"].step.canary


@pytest.mark.parametrize(
    ("stable", "expected"),
    [
        ([FAST] * 99, ThresholdGap.BASELINE),
        ([FAST] * 100, "an edge"),
        ([FAST] * 90 + [100.0] * 10, ThresholdGap.SATURATED),
        ([FAST] * 90 + [EDGES[-2]] * 10, ThresholdGap.SATURATED),
        ([FAST] * 90 + [EDGES[-3]] * 10, "an edge"),
    ],
)
def test_tau_or_the_reason_for_its_absence(stable, expected):
    state = see(
        LATENCY.initial_state({}), {"step": CountsByArm(bucket_counts(stable), bucket_counts([]))}
    )
    found = state.strata["step"].threshold(LATENCY.parameters)
    assert expected == ("an edge" if isinstance(found, int) else found)


def test_tau_follows_a_drift():
    """Older runs fade once stable has been twice as slow for a while."""
    state = see(
        LATENCY.initial_state({}),
        {"step": CountsByArm(bucket_counts([0.1] * 390), bucket_counts([]))},
    )
    for _ in range(40):
        state = see(state, {"step": CountsByArm(bucket_counts([0.2] * 50), bucket_counts([]))})
    at = state.strata["step"].threshold(LATENCY.parameters)
    assert EDGES[at - 1] < 0.2 <= EDGES[at]
    assert sum(state.strata["step"].window) < 4 * LATENCY.parameters.baseline_samples


@pytest.mark.parametrize(
    "new", [arms(), arms(stable=100, stable_slow=50), arms(canary=10, canary_slow=50), {}]
)
def test_no_data_in_one_arm_is_no_evidence(new):
    before = known()
    after = see(before, new)
    assert (before.e_process.failing, before.e_process.passing) == (
        after.e_process.failing,
        after.e_process.passing,
    )
    assert VerdictOutcome.INCONCLUSIVE is LATENCY.assess(after).outcome


def test_faults_are_marked_whatever_they_took():
    as_faults = see(known(), arms(stable=100, canary=90, canary_faults=10))
    as_slow = see(known(), arms(stable=100, canary=90, canary_slow=10))
    assert as_slow.e_process.failing == as_faults.e_process.failing
    assert 10 == as_faults.strata["step"].step.canary_marked


def test_the_evidence_does_not_change_while_latency_is_not_judged():
    """During warm-up and settling. Failures are judged by another guardrail."""
    before = known()
    after = see(before, arms(stable=100, canary_slow=50, canary_faults=50), latency=False)
    assert before.e_process == after.e_process
    assert 200 == sum(after.strata["step"].window), "stable's percentile is still measured"


def test_equal_faults_in_both_arms_are_not_blamed_on_the_canary():
    state = known()
    for _ in range(200):
        state = see(state, arms(stable=80, stable_faults=20, canary=80, canary_faults=20))
    assert VerdictOutcome.FAIL is not LATENCY.assess(state).outcome


def test_at_100_percent_the_canary_is_compared_with_a_fixed_rate():
    """10 % are allowed to be slow, twice the percentile's 5 %; nothing can pass."""
    state = known()
    for _ in range(100):
        state = see(state, arms(canary=92, canary_slow=8), canary_only=True)
    assert VerdictOutcome.INCONCLUSIVE is LATENCY.assess(state).outcome
    for _ in range(30):
        state = see(state, arms(canary=60, canary_slow=40), canary_only=True)
    assert VerdictOutcome.FAIL is LATENCY.assess(state).outcome


def test_a_new_step_keeps_the_case_against_and_drops_the_case_for():
    state = known()
    for _ in range(12):
        state = see(state, arms(stable=96, stable_slow=4, canary=100))
    assert VerdictOutcome.PASS is LATENCY.assess(state).outcome
    stepped = state.next_step()
    assert 0 == stepped.e_process.log_pass() == stepped.e_process.peak
    assert stepped.e_process.failing >= state.e_process.failing
    assert stepped.e_process.log_fail() == pytest.approx(state.e_process.log_fail()), (
        "placing a stake does not change its worth"
    )
    assert (0, 0) == (LATENCY.assess(stepped).canary, LATENCY.assess(stepped).stable)


def test_a_pass_once_reached_stays_for_its_step():
    """By Ville's inequality the bound holds for the maximum."""
    state = known()
    for _ in range(12):
        state = see(state, arms(stable=96, stable_slow=4, canary=100))
    for _ in range(4):
        state = see(state, arms(stable=99, stable_slow=1, canary=97, canary_slow=3))
    assert state.e_process.log_pass() < state.e_process.peak
    assert VerdictOutcome.PASS is LATENCY.assess(state).outcome


FINE = arms(stable=720, stable_slow=30, canary=248, canary_slow=2)["step"]


def of_two_modes(rare: CountsByArm, runs=10) -> LatencyState:
    """Runs on many steps that are fine and a few contexts."""
    state = see(LATENCY.initial_state({}), dict.fromkeys(("step", "prefill"), BASELINE))
    for _ in range(runs):
        state = see(state, {"step": FINE, "prefill": rare})
    return state


def test_a_frequent_mode_that_is_fine_does_not_hide_a_rare_one_that_is_not():
    """All modes together would pass; the bet on the rare mode alone finds it."""
    slow = arms(stable=39, stable_slow=1, canary=9, canary_slow=3)["step"]
    state = of_two_modes(slow)
    assert VerdictOutcome.PASS is LATENCY.bounds.assess(state.e_process)[0]
    assert VerdictOutcome.FAIL is LATENCY.assess(state).outcome


def test_a_conspicuously_slow_mode_holds_the_pass_back():
    """It has not failed."""
    doubtful = arms(stable=39, stable_slow=1, canary=11, canary_slow=1)["step"]
    state = of_two_modes(doubtful)
    assert VerdictOutcome.PASS is LATENCY.bounds.assess(state.e_process)[0]
    verdict = LATENCY.assess(state)
    assert VerdictOutcome.INCONCLUSIVE is verdict.outcome
    assert "the canary is conspicuously slow in prefill" in verdict.message


@pytest.mark.parametrize(
    ("rare", "expected"), [(20, VerdictOutcome.PASS), (80, VerdictOutcome.INCONCLUSIVE)]
)
def test_a_mode_that_cannot_be_judged_yet_holds_the_pass_back(rare, expected):
    """If it has at least one request in twenty: fewer cannot move a P95 by themselves."""
    state = known()
    new = CountsByArm(bucket_counts([]), bucket_counts([FAST] * rare))
    for _ in range(10):
        state = see(state, {"step": FINE, "prefill": new})
    verdict = LATENCY.assess(state)
    assert expected is verdict.outcome
    assert ("prefill cannot be judged yet" in verdict.message) is (
        expected is VerdictOutcome.INCONCLUSIVE
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_with_one_mode_the_bets_on_each_mode_cost_nothing(runs):
    """They equal the pooled bet."""
    state = known()
    for stable_slow, canary_slow in runs:
        new = arms(stable=90, stable_slow=stable_slow, canary=20, canary_slow=canary_slow)
        state = see(state, new)
    assert state.log_fail() == pytest.approx(state.e_process.log_fail())


@pytest.mark.slow
def test_a_late_regression_is_found_soon():
    """Even after an hour of health, because of the reserved stakes."""
    state = known()
    for _ in range(240):
        state = see(state, arms(stable=354, stable_slow=16, canary=362, canary_slow=8))
    for _ in range(18):
        state = see(state, arms(stable=354, stable_slow=16, canary=270, canary_slow=100))
    assert VerdictOutcome.FAIL is LATENCY.assess(state).outcome


def test_the_message_shows_the_arithmetic():
    state = known()
    for _ in range(6):
        state = see(
            state, arms(stable=95, stable_slow=5, canary=60, canary_slow=38, canary_faults=2)
        )
    verdict = LATENCY.assess(state)
    assert VerdictOutcome.FAIL is verdict.outcome
    assert (
        f"fail: ln E = {state.e_process.log_fail():.2f} ≥ ln(1/0.01) = 4.61 "
        "after 600 canary and 600 stable requests; step: canary: 240 requests slower than "
        "1.2·τ = 129.4 ms, stable: 30 requests slower than τ = 107.8 ms "
        "(failed requests count as slow)"
    ) == verdict.message


def test_the_message_says_what_it_waits_for():
    verdict = LATENCY.assess(see(LATENCY.initial_state({}), arms(stable=40, canary=2)))
    assert "step: τ needs 100 stable requests, 40 so far" in verdict.message
    high = {"step": CountsByArm(bucket_counts([100.0] * 200), bucket_counts([]))}
    assert (
        "too close to the top bucket"
        in LATENCY.assess(see(LATENCY.initial_state({}), high)).message
    )


def test_the_verdict_has_point_estimates():
    verdict = LATENCY.assess(see(known(), arms(stable=100, canary=100)))
    assert 1.0 == pytest.approx(verdict.ratio)
    assert (100, 100) == (verdict.canary, verdict.stable)
    assert verdict.to_json(required=True)["samples"] == {"canary": 100, "stable": 100}
    empty = LATENCY.assess(LATENCY.initial_state({}))
    assert (None, {"canary": None, "stable": None}) == (empty.ratio, empty.details["p95_seconds"])


def by_bucket(found, faults):
    counts = [0] * (len(EDGES) + 1)
    for bucket, count in found.items():
        counts[bucket] = count
    return Counts(tuple(counts), faults)


counts = st.builds(
    by_bucket,
    st.dictionaries(st.integers(0, len(EDGES)), st.integers(0, 10**6), max_size=5),
    st.integers(0, 10**6),
)


@given(
    st.lists(
        st.tuples(
            st.builds(CountsByArm, counts, counts), st.booleans(), st.booleans(), st.booleans()
        ),
        max_size=6,
    )
)
def test_any_counts_give_finite_evidence(runs):
    """The reserved stakes bound it from below."""
    state = LATENCY.initial_state({})
    for new, latency, canary_only, stepped in runs:
        state = see(state, {"step": new}, latency=latency, canary_only=canary_only)
        state = state.next_step() if stepped else state
        verdict = LATENCY.assess(state)
        assert math.isfinite(verdict.log_fail)
        assert math.isfinite(verdict.log_pass)
        assert verdict.log_fail >= math.log(0.125 / (state.e_process.steps + 1))
