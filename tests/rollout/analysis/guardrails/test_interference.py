"""The interference guardrail: stable against its own past."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.interference import (
    MIN_EVALUATIONS,
    InterferenceGuardrail,
    InterferenceState,
)
from service.rollout.analysis.verdict import VerdictOutcome
from tests.support.guardrails import make_guardrail
from tests.support.rollout_fakes import bucket_counts

INTERFERENCE = make_guardrail(InterferenceGuardrail, baseline_samples=100)
BEFORE = bucket_counts([0.1] * 196 + [0.12] * 4)


def initial(before=BEFORE) -> InterferenceState:
    return InterferenceState({"step": before})


def measurement(*seconds, faults=0, mode="step", **how) -> Measurement:
    arms = CountsByArm(bucket_counts(seconds, faults), bucket_counts([0.1] * 9))
    return Measurement(Counters({mode: arms}), **how)


def after(runs, new, state=None) -> InterferenceState:
    state = state or initial()
    for _ in range(runs):
        state = INTERFERENCE.update(state, new)
    return state


def test_a_stable_three_times_as_slow_for_long_enough_is_a_fail():
    """No fewer than eight runs decide, however clear each of them is."""
    slow = measurement(*[0.5] * 700)
    assert (
        VerdictOutcome.INCONCLUSIVE is INTERFERENCE.assess(after(MIN_EVALUATIONS - 1, slow)).outcome
    )
    verdict = INTERFERENCE.assess(after(MIN_EVALUATIONS, slow))
    assert VerdictOutcome.FAIL is verdict.outcome
    assert 5 == pytest.approx(verdict.ratio, rel=0.1)
    assert "5600 of 5600 stable requests failed or were slower than 2.99·τ" in verdict.message
    assert "the canary or a change of load slows stable" in verdict.message


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.25])
def test_a_load_that_doubles_is_not_blamed_on_the_canary(seconds):
    """However long it lasts. The guardrail never passes: it can only fail."""
    verdict = INTERFERENCE.assess(after(300, measurement(*[seconds] * 700)))
    assert VerdictOutcome.INCONCLUSIVE is verdict.outcome
    assert 0 == verdict.log_pass


def test_a_disturbance_of_a_minute_is_not_enough():
    state = after(20, measurement(*[0.1] * 700))
    state = after(4, measurement(*[0.5] * 700), state)
    state = after(2, measurement(*[0.1] * 700), state)
    assert (
        VerdictOutcome.INCONCLUSIVE
        is INTERFERENCE.assess(after(4, measurement(*[0.5] * 700), state)).outcome
    )


def test_late_interference_is_found():
    """An hour without interference costs six more minutes."""
    state = after(240, measurement(*[0.1] * 700))
    assert (
        VerdictOutcome.FAIL
        is INTERFERENCE.assess(
            after(MIN_EVALUATIONS + 24, measurement(*[0.5] * 700), state)
        ).outcome
    )


@pytest.mark.parametrize(
    ("state", "new"),
    [
        (initial(), measurement()),
        (initial(), measurement(0.5, mode="prefill")),
        (initial(), measurement(0.5, settled=False)),
        (initial(), measurement(0.5, canary_only=True)),
        (initial(bucket_counts([0.1] * 99)), measurement(0.5)),
        (initial(bucket_counts([0.1] * 50 + [8.0] * 50)), measurement(0.5)),
        (INTERFERENCE.initial_state({}), measurement(0.5)),
    ],
    ids=["nothing", "mode", "settling", "100 %", "little", "saturated", "no past"],
)
def test_without_a_baseline_or_new_requests_nothing_changes(state, new):
    assert state == INTERFERENCE.update(state, new)
    assert "no comparison yet" in INTERFERENCE.assess(state).message


def test_a_new_step_continues_with_the_same_baseline():
    state = after(3, measurement(*[0.5] * 700))
    stepped = state.next_step()
    assert (state.baseline, 2100) == (stepped.baseline, stepped.modes["step"].rollout.total)
    assert 0 == stepped.modes["step"].step.total
    assert stepped.e_process.log_fail() == pytest.approx(state.e_process.log_fail())
    assert (
        VerdictOutcome.FAIL
        is INTERFERENCE.assess(
            after(MIN_EVALUATIONS - 3, measurement(*[0.5] * 700), stepped)
        ).outcome
    )
    assert replace(state, e_process=stepped.e_process, modes=stepped.modes) == stepped
