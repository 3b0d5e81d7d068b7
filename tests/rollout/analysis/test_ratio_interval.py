"""The interval of the ratio: order of the rungs, the guardrail's own verdicts, and coverage."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rollout.analysis.bucket_edges import EDGE_GROWTH, edge_distance
from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.guardrails.guardrail import AnalysisParameters, Measurement
from service.rollout.analysis.guardrails.latency import (
    FAIL_ODDS,
    PASS_ODDS,
    LatencyConfig,
    LatencyGuardrail,
)
from service.rollout.analysis.ratio_interval import (
    RUNGS,
    JudgedCounts,
    RatioLadder,
    mixed_log_fail,
)
from service.types import Mode
from tests.support.rollout_fakes import EDGES

EDGES_FEW = tuple(0.01 * EDGE_GROWTH**i for i in range(12))
BOUNDS = EvidenceBounds(fail=0.05, passing=0.05)

arms = st.builds(
    Counts,
    st.lists(st.integers(0, 8), min_size=13, max_size=13).map(tuple),
    st.integers(0, 3),
)
runs = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["prefill", "step"]),
            st.builds(
                JudgedCounts,
                st.integers(0, 9),
                st.builds(CountsByArm, arms, arms).filter(
                    lambda each: each.stable.total > 0 and each.canary.total > 0
                ),
            ),
            min_size=1,
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def ladder_after(history, bounds=BOUNDS):
    """The ladder after each run; some runs begin a step."""
    ladder = RatioLadder.initial(len(FAIL_ODDS), len(PASS_ODDS))
    found = []
    for judged, new_step in history:
        if new_step:
            ladder = ladder.next_step()
        ladder = ladder.update(judged, FAIL_ODDS, PASS_ODDS, bounds, len(Mode))
        found.append(ladder)
    return found


@given(runs)
@settings(max_examples=25, deadline=None)
def test_the_evidence_is_ordered_by_rung_on_every_path(history):
    """Against "at most ρ" it does not increase in ρ, against "at least ρ" it does not decrease.

    So one error probability covers all rungs.
    """
    for ladder in ladder_after(history):
        fails = [mixed_log_fail(r.pooled, r.alone.values(), len(Mode)) for r in ladder.rungs]
        peaks = [r.pooled.peak for r in ladder.rungs]
        assert all(x >= y - 1e-9 for x, y in pairwise(fails))
        assert all(x <= y + 1e-9 for x, y in pairwise(peaks))


@given(runs)
@settings(max_examples=25, deadline=None)
def test_within_a_step_the_interval_only_shrinks(history):
    before = None
    for (_, new_step), ladder in zip(history, ladder_after(history), strict=True):
        found = ladder.interval(BOUNDS, limit=2, failed=False, passed=False)
        if found is None or new_step:
            before = found
            continue
        if before is not None:
            assert before.low is None or found.low >= before.low
            assert before.high is None or found.high <= before.high
        before = found


def guardrail(ratio, bounds=BOUNDS, edges=EDGES):
    parameters = AnalysisParameters(ratio, 0.95, 200, edges)
    return LatencyGuardrail(LatencyConfig(), parameters, bounds)


def measurements(ratio, *, looks, seed, rate=400, share=0.25, modes=("step",)):
    """Lognormal durations of both arms; the canary's are `ratio` times as long."""
    rng = np.random.default_rng(seed)

    def counts(number, factor):
        durations = factor * rng.lognormal(np.log(0.02), 0.5, number)
        buckets = np.bincount(np.searchsorted(EDGES, durations), minlength=len(EDGES) + 1)
        return Counts(tuple(int(n) for n in buckets))

    for _ in range(looks):
        yield Measurement(
            Counters(
                requests={
                    mode: CountsByArm(
                        counts(rng.poisson(rate * (1 - share)), 1.0),
                        counts(rng.poisson(rate * share), ratio),
                    )
                    for mode in modes
                }
            )
        )


@pytest.mark.parametrize("rung", [-1, 1, 2, 3, 5])
@pytest.mark.parametrize("modes", [("step",), ("step", "prefill")])
def test_a_rung_has_the_evidence_of_a_guardrail_with_that_limit(rung, modes):
    """Exactly: the interval is the guardrail's own test at other limits."""
    base = guardrail(1.2)
    state = base.initial_state({})
    other = guardrail(EDGE_GROWTH**rung)
    direct = other.initial_state({})
    for measurement in measurements(1.1, looks=8, seed=3, modes=modes):
        state, direct = base.update(state, measurement), other.update(direct, measurement)
    evidence = state.ladder.rungs[RUNGS.index(rung)]
    found = mixed_log_fail(evidence.pooled, evidence.alone.values(), len(Mode))
    assert direct.log_fail() == pytest.approx(found, abs=1e-9)
    assert direct.e_process.peak == pytest.approx(evidence.pooled.peak, abs=1e-9)


@pytest.mark.parametrize(("ratio", "outcome"), [(1.0, "pass"), (2.0, "fail")])
def test_the_limit_leaves_the_interval_with_the_verdict(ratio, outcome):
    judge = guardrail(1.2)
    state = judge.initial_state({})
    for measurement in measurements(ratio, looks=60, seed=1):
        state = judge.update(state, measurement)
        verdict = judge.assess(state)
        interval = verdict.comparison.interval
        low = interval is not None and interval.low is not None and interval.low > 1.19
        high = interval is not None and interval.high is not None and interval.high < 1.21
        assert (verdict.outcome == "fail", verdict.outcome == "pass") == (low, high)
        if verdict.outcome == outcome:
            break
    assert outcome == verdict.outcome


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [EDGE_GROWTH**0, EDGE_GROWTH**2, EDGE_GROWTH**5])
def test_the_interval_covers_the_ratio_at_every_look(ratio):
    """At most one run in ten may ever miss it, and looking thirty times must not change that.

    The true ratio is a rung, the worst case. 40 runs of 30 looks miss it 4 times at most on
    average; 11 or more would have a chance below 0.2 % (binomial). The ends also come close.
    """
    judge = guardrail(1.2)
    missed, widths = 0, []
    for seed in range(40):
        state, ever = judge.initial_state({}), False
        for measurement in measurements(ratio, looks=30, seed=seed):
            state = judge.update(state, measurement)
            interval = judge.assess(state).comparison.interval
            if interval is None:
                continue
            below = interval.low is not None and interval.low >= ratio * 1.0001
            above = interval.high is not None and interval.high <= ratio * 0.9999
            ever = ever or below or above
        missed += ever
        if interval is not None and interval.low and interval.high:
            widths.append(interval.high / interval.low)
    assert missed <= 10
    assert len(widths) > 30
    assert np.median(widths) < EDGE_GROWTH**6


def test_the_confidence_is_what_both_sides_may_spend():
    judge = guardrail(1.2, EvidenceBounds(fail=0.003, passing=0.0075))
    state = judge.initial_state({})
    for measurement in measurements(3.0, looks=10, seed=1):
        state = judge.update(state, measurement)
    assert judge.assess(state).comparison.interval.confidence == pytest.approx(0.9895)


def test_a_new_step_keeps_the_lower_end_and_earns_the_upper_one_again():
    judge = guardrail(1.2)
    state = judge.initial_state({})
    for measurement in measurements(1.0, looks=30, seed=1):
        state = judge.update(state, measurement)
    before = judge.assess(state).comparison.interval
    after = judge.assess(state.next_step()).comparison.interval
    assert before.low is not None
    assert before.high is not None
    assert (before.low, None) == (after.low, after.high)


def test_there_is_none_without_evidence_at_100_percent_and_in_older_records():
    judge = guardrail(1.2)
    state = judge.initial_state({})
    assert judge.assess(state).comparison.interval is None
    for measurement in measurements(1.0, looks=30, seed=1):
        state = judge.update(state, measurement)
    older = replace(state, ladder=None)
    assert judge.assess(older).comparison.interval is None
    alone = state.next_step()
    for measurement in measurements(1.0, looks=3, seed=2, share=1.0):
        alone = judge.update(alone, replace(measurement, canary_only=True))
    assert judge.assess(alone).comparison.interval is None


def test_ends_that_contradict_each_other_are_no_interval():
    """A ratio that has moved has no single value."""
    judge = guardrail(1.2)
    state = judge.initial_state({})
    for measurement in measurements(1.1, looks=60, seed=1):
        state = judge.update(state, measurement)
    assert state.ladder.low >= -1
    moved = state.next_step()
    for measurement in measurements(0.4, looks=30, seed=2):
        moved = judge.update(moved, measurement)
    assert judge.assess(moved).comparison.interval is None


def test_the_rungs_hold_the_default_limit():
    assert edge_distance(1.2) in RUNGS
    assert list(RUNGS) == sorted(RUNGS)
