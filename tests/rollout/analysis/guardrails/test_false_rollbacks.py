"""How often the guardrails are right, simulated with the service's own code.

50 requests a second, a run every 15 s, lognormal latencies; fixed seeds. The
bounds leave room for chance: an error rate of 1 % shows more than 8 false
verdicts in 300 rollouts less than once in 200 times.
"""

from __future__ import annotations

import numpy as np
import pytest

from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.guardrails.error_rate import ErrorRateGuardrail
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency import LatencyGuardrail
from service.rollout.analysis.verdict import VerdictOutcome
from tests.support.guardrails import make_guardrail
from tests.support.rollout_fakes import EDGES

pytestmark = pytest.mark.slow

LATENCY = make_guardrail(LatencyGuardrail)
TOP = np.array(EDGES)


def histogram(seconds) -> Counts:
    places = np.searchsorted(TOP, seconds, side="left")
    return Counts(tuple(np.bincount(places, minlength=len(EDGES) + 1).tolist()))


def rollout(rng, ratio, *, weights=(0.05,), runs=60, sigma=0.5, drift=0.0, stop_at_pass=False):
    """(verdict, runs it took) of one simulated rollout, the weight rising in even parts."""
    state, weight = LATENCY.initial_state({}), weights[0]
    for k in range(runs):
        planned = weights[k * len(weights) // runs]
        if planned != weight:
            state, weight = state.next_step(), planned
        level = np.log(0.05) + drift * np.sin(k / 10)
        canary = rng.binomial(total := rng.poisson(750), weight)
        x = rng.lognormal(level, sigma, total - canary)
        y = ratio * rng.lognormal(level, sigma, canary)
        new = Measurement(Counters({"step": CountsByArm(histogram(x), histogram(y))}))
        state = LATENCY.update(state, new)
        if state.e_process.log_fail() >= LATENCY.bounds.log_fail:
            return "fail", k + 1
        if stop_at_pass and state.e_process.peak >= LATENCY.bounds.log_pass:
            return "pass", k + 1
    return "inconclusive", runs


def verdicts(seed, count, ratio, **how):
    rng = np.random.default_rng(seed)
    results = [rollout(rng, ratio, **how) for _ in range(count)]
    runs = {
        verdict: sorted(n for v, n in results if v == verdict)
        for verdict in ("fail", "pass", "inconclusive")
    }
    return {v: len(n) for v, n in runs.items()}, {
        v: n[len(n) // 2] if n else None for v, n in runs.items()
    }


@pytest.mark.parametrize(("slower", "most", "least"), [(1.0, 2, 0), (2.0, 40, 38)])
def test_a_mode_of_one_request_in_ten_is_neither_outvoted_nor_blamed(slower, most, least):
    """Contexts of twice stable's time beside steps that are alike: rolled back within two
    hours; of the same time: not."""
    failed, rng = 0, np.random.default_rng(7)
    for _ in range(40):
        state = LATENCY.initial_state({})
        for _ in range(480):
            counted = {}
            for mode, rate, level, ratio in (
                ("step", 675, 0.003, 1.0),
                ("prefill", 75, 0.1, slower),
            ):
                canary = rng.binomial(total := rng.poisson(rate), 0.25)
                x = rng.lognormal(np.log(level), 0.5, total - canary)
                y = ratio * rng.lognormal(np.log(level), 0.5, canary)
                counted[mode] = CountsByArm(histogram(x), histogram(y))
            state = LATENCY.update(state, Measurement(Counters(counted)))
            if state.log_fail() >= LATENCY.bounds.log_fail:
                failed += 1
                break
    assert least <= failed <= most


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"weights": (0.05, 0.1, 0.25, 0.5)},
        {"weights": (0.05, 0.1, 0.25, 0.5), "drift": 0.7},
        {"sigma": 1.0},
    ],
    ids=["5 %", "a ramp", "a ramp while load drifts", "heavy tails"],
)
@pytest.mark.parametrize("ratio", [1.0, 1.1])
def test_a_canary_that_complies_is_not_rolled_back(ratio, how):
    count, _ = verdicts(1, 75, ratio, **how)
    assert count["fail"] <= 3


@pytest.mark.parametrize(("ratio", "median"), [(1.5, 12), (2.0, 6), (5.0, 4)])
def test_a_slower_canary_is_found(ratio, median):
    count, runs = verdicts(2, 50, ratio, runs=120)
    assert 50 == count["fail"]
    assert runs["fail"] <= median


def test_an_identical_canary_passes():
    count, runs = verdicts(3, 50, 1.0, runs=120, stop_at_pass=True)
    assert count["pass"] >= 48
    assert count["fail"] == 0
    assert runs["pass"] <= 20


def test_a_slower_canary_does_not_pass():
    """ratio 1.3 breaks the rule: a pass is as rare as a false roll back."""
    count, _ = verdicts(4, 75, 1.3, runs=120, stop_at_pass=True)
    assert count["pass"] <= 3


def test_a_regression_at_a_later_step_is_found():
    """Slow only from 50 % on, after steps with evidence for it."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(20):
        state = LATENCY.initial_state({})
        for k in range(200):
            weight, ratio = (0.05, 1.0) if k < 80 else (0.5, 2.0)
            state = state.next_step() if k == 80 else state
            canary = rng.binomial(total := rng.poisson(750), weight)
            x = rng.lognormal(-3, 0.5, total - canary)
            y = ratio * rng.lognormal(-3, 0.5, canary)
            new = Measurement(Counters({"step": CountsByArm(histogram(x), histogram(y))}))
            state = LATENCY.update(state, new)
            if state.e_process.log_fail() >= LATENCY.bounds.log_fail:
                found.append(k - 79)
                break
    assert 20 == len(found)
    assert max(found) <= 12


def test_a_canary_that_stalls_within_one_run_is_not_rolled_back():
    """In the first run that judges latency, which is the worst."""
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(50):
        state = LATENCY.initial_state({})
        for k in range(20):
            canary = rng.binomial(total := rng.poisson(750), 0.05)
            x = rng.lognormal(-3, 0.5, total - canary)
            y = rng.lognormal(-3, 0.5, canary) + (3.0 if k == 2 else 0.0)
            new = Measurement(Counters({"step": CountsByArm(histogram(x), histogram(y))}))
            state = LATENCY.update(state, new)
            found += LATENCY.assess(state).outcome is VerdictOutcome.FAIL
    assert 0 == found


ERRORS = make_guardrail(ErrorRateGuardrail)


def failing(rng, canary_rate, stable_rate, *, runs=240, weight=0.05, poison=0, swing=0.0):
    """The outcome of a rollout judged by errors alone, and its number of runs.

    `poison` requests of each run fail on either arm; both rates `swing`.
    """
    state = ERRORS.initial_state({})
    passed = None
    for k in range(runs):
        level = 1 + swing * np.sin(k / 10)
        canary = rng.binomial(total := rng.poisson(750), weight)
        fails = rng.binomial(canary, canary_rate * level)
        stable_fails = rng.binomial(total - canary, stable_rate * level)
        poisoned = rng.hypergeometric(canary, total - canary, poison) if poison else 0
        fails = min(canary, fails + poisoned)
        stable_fails = min(total - canary, stable_fails + poison - poisoned)
        arms = CountsByArm(
            Counts((total - canary - stable_fails,), stable_fails), Counts((canary - fails,), fails)
        )
        state = ERRORS.update(state, Measurement(Counters({"step": arms})))
        if state.e_process.log_fail() >= ERRORS.bounds.log_fail:
            return VerdictOutcome.FAIL, k + 1
        if state.e_process.peak >= ERRORS.bounds.log_pass and passed is None:
            passed = k + 1
    return (VerdictOutcome.PASS if passed else VerdictOutcome.INCONCLUSIVE), passed or runs


def ends(seed, count, *rates, **how):
    rng = np.random.default_rng(seed)
    return [failing(rng, *rates, **how) for _ in range(count)]


@pytest.mark.parametrize(
    ("rates", "how"),
    [
        ((0.001, 0.001), {}),
        ((0.05, 0.05), {}),
        ((0.05, 0.05), {"swing": 0.9, "weight": 0.5}),
        ((0.0, 0.0), {"poison": 15}),
        ((0.012, 0.002), {}),
        ((0.06, 0.05), {"weight": 0.5}),
    ],
    ids=["few", "many", "swinging", "poison", "at the margin", "many at the margin"],
)
def test_a_canary_that_fails_no_more_than_it_may_is_not_rolled_back(rates, how):
    found = ends(11, 75, *rates, **how)
    assert 3 >= sum(outcome is VerdictOutcome.FAIL for outcome, _ in found)


@pytest.mark.parametrize(
    ("canary_rate", "median"), [(0.5, 2), (0.2, 2), (0.1, 5), (0.05, 12), (0.03, 40)]
)
def test_a_failing_canary_is_found(canary_rate, median):
    found = ends(12, 50, canary_rate, 0.001)
    assert all(outcome is VerdictOutcome.FAIL for outcome, _ in found)
    assert sorted(runs for _, runs in found)[25] <= median


def test_equal_arms_pass_on_errors_in_five_minutes():
    found = ends(13, 50, 0.0005, 0.0005, runs=40)
    assert 25 <= sum(outcome is VerdictOutcome.PASS and runs <= 20 for outcome, runs in found)


@pytest.mark.parametrize("rates", [(0.011, 0.0), (0.035, 0.02)])
def test_a_canary_that_fails_by_more_than_the_margin_does_not_pass(rates):
    found = ends(14, 75, *rates)
    assert 3 >= sum(outcome is VerdictOutcome.PASS for outcome, _ in found)
