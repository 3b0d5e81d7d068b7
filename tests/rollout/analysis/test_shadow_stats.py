"""A shadow step's statistics and verdict."""

from __future__ import annotations

import json

import pytest

from service.rollout.analysis.shadow_stats import FAIR_PAIRS, ShadowStats, assess_shadow, count_copy
from service.rollout.analysis.verdict import VerdictOutcome
from service.rollout.plan.rollout_plan import PlanStep
from tests.support.rollout_fakes import EDGES

STEP = PlanStep(shadow=True, min_samples=200)


def seen(count=200, *, ratio=1.0, cosine=0.9, faults=0, mode="step", dropped=0):
    found = ShadowStats(EDGES, faults=faults, dropped=dropped)
    modes = count_copy(EDGES, mode, 0.01, 0.01 * ratio)
    for _ in range(count):
        found = found.plus(ShadowStats(EDGES, modes, answered=1, cosine_sum=cosine))
    return found


@pytest.mark.parametrize(
    ("stats", "step", "outcome", "text"),
    [
        (
            ShadowStats(EDGES),
            STEP,
            "inconclusive",
            "0 of 200 required copies have run since the warm-up",
        ),
        (seen(199), STEP, "inconclusive", "199 of 200 required copies have run since the warm-up"),
        (seen(200), STEP, "pass", "200 copies ran and none failed; mean cosine"),
        (seen(200, ratio=3), STEP, "pass", "step: P95 in the engine is 2.99 times"),
        (seen(200, ratio=7), STEP, "fail", "times stable's, the limit is 5 times"),
        (seen(200, ratio=1e5), STEP, "fail", "beyond the top bucket"),
        (
            seen(200, ratio=7),
            PlanStep(shadow=True, max_inference_ratio=9),
            "inconclusive",
            "200 of 500 required copies have run since the warm-up",
        ),
        (seen(10, faults=3), STEP, "fail", "3 of 13 copies failed"),
        (seen(200, faults=2), STEP, "inconclusive", "2 of 202 copies failed: a person must decide"),
        (
            seen(200, cosine=0.5),
            PlanStep(shadow=True, min_samples=200, min_agreement=0.8),
            "fail",
            "mean cosine with stable's predictions 0.5000, below the minimum of 0.8",
        ),
        (
            seen(200, cosine=0.81),
            PlanStep(shadow=True, min_samples=200, min_agreement=0.8),
            "pass",
            "0.8100",
        ),
        (
            ShadowStats(EDGES, answered=500, cosine_sum=450.0),
            STEP,
            "inconclusive",
            "no mode has 100 copies with the same work for both versions",
        ),
        (
            seen(150).plus(seen(FAIR_PAIRS, mode="prefill", ratio=8)),
            STEP,
            "fail",
            "prefill: P95 in the engine",
        ),
        (
            seen(190).plus(seen(FAIR_PAIRS - 1, mode="prefill", ratio=8)),
            STEP,
            "pass",
            "step: P95 in the engine is 1.00 times stable's",
        ),
        (seen(20), PlanStep(shadow=True, min_samples=20), "pass", "20 copies ran"),
    ],
)
def test_verdicts(stats, step, outcome, text):
    verdict = assess_shadow(stats, step.shadow_limits)
    assert (VerdictOutcome(outcome), stats.total) == (verdict.outcome, verdict.canary)
    assert text in verdict.message
    json.dumps(verdict.to_json(required=True), allow_nan=False)


def test_dropped_copies_are_reported_and_are_no_evidence():
    """They show load, and nothing about the canary."""
    verdict = assess_shadow(seen(100, dropped=5000), STEP.shadow_limits)
    assert VerdictOutcome.INCONCLUSIVE is verdict.outcome
    assert {"answered": 100, "failed": 0, "dropped": 5000} == verdict.details["copies"]


def test_modes_are_kept_apart():
    """A context and a single vector differ by orders of magnitude."""
    both = seen(3).plus(seen(2, mode="prefill", ratio=2)).plus(seen(1))
    by_mode = {each["mode"]: each for each in both.to_json()["inference"]}
    assert {"step": 4, "prefill": 2} == {mode: each["pairs"] for mode, each in by_mode.items()}
    assert 1.0 == pytest.approx(by_mode["step"]["ratio"])
    assert 2.0 == pytest.approx(by_mode["prefill"]["ratio"], rel=0.1)
    assert 0.9 == pytest.approx(both.agreement)
