"""Stable against its own past: what it takes to blame a canary for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.guardrails.config import HALF_STEP
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.interference import (
    LOOKS,
    InterferenceGuardrail,
    InterferenceState,
)
from service.rollout.analysis.verdict import VerdictOutcome
from tests.support.rollout_fakes import EDGES, bucket_counts

RULE = InterferenceGuardrail(
    "interference", EvidenceBounds(0.01, 0.01), HALF_STEP**12, 12, 0.95, 100, EDGES
)
BEFORE = bucket_counts([0.1] * 196 + [0.12] * 4)


def begun(before=BEFORE) -> InterferenceState:
    return InterferenceState({"step": before})


def look(*seconds, faults=0, mode="step", **how) -> Measurement:
    arms = CountsByArm(bucket_counts(seconds, faults), bucket_counts([0.1] * 9))
    return Measurement(Counters({mode: arms}), **how)


def after(looks, new, test=None) -> InterferenceState:
    test = test or begun()
    for _ in range(looks):
        test = RULE.look(test, new)
    return test


def test_a_stable_three_times_as_slow_for_long_enough_is_a_fail():
    """No fewer than eight looks decide, however clear each of them is."""
    slow = look(*[0.5] * 700)
    assert VerdictOutcome.INCONCLUSIVE is RULE.assess(after(LOOKS - 1, slow)).outcome
    said = RULE.assess(after(LOOKS, slow))
    assert VerdictOutcome.FAIL is said.outcome
    assert 5 == pytest.approx(said.ratio, rel=0.1)
    assert "5600 of 5600 stable requests failed or took longer than 2.99·τ" in said.message
    assert "by the canary or by load of its own" in said.message


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.25])
def test_load_that_doubles_is_not_the_canarys(seconds):
    """However long it lasts. It never passes either: it can only fail."""
    said = RULE.assess(after(300, look(*[seconds] * 700)))
    assert VerdictOutcome.INCONCLUSIVE is said.outcome
    assert 0 == said.log_pass


def test_a_disturbance_of_a_minute_is_not_enough():
    test = after(20, look(*[0.1] * 700))
    test = after(4, look(*[0.5] * 700), test)
    test = after(2, look(*[0.1] * 700), test)
    assert VerdictOutcome.INCONCLUSIVE is RULE.assess(after(4, look(*[0.5] * 700), test)).outcome


def test_late_interference_is_found():
    """An hour of health costs six minutes more."""
    test = after(240, look(*[0.1] * 700))
    assert VerdictOutcome.FAIL is RULE.assess(after(LOOKS + 24, look(*[0.5] * 700), test)).outcome


@pytest.mark.parametrize(
    ("test", "new"),
    [
        (begun(), look()),
        (begun(), look(0.5, mode="prefill")),
        (begun(), look(0.5, steady=False)),
        (begun(), look(0.5, alone=True)),
        (begun(bucket_counts([0.1] * 99)), look(0.5)),
        (begun(bucket_counts([0.1] * 50 + [8.0] * 50)), look(0.5)),
        (RULE.begin(), look(0.5)),
    ],
    ids=["nothing", "mode", "settling", "100 %", "little", "saturated", "no past"],
)
def test_without_a_past_or_a_present_it_is_silent(test, new):
    assert test == RULE.look(test, new)
    assert "nothing compared yet" in RULE.assess(test).message


def test_a_new_step_goes_on_with_the_same_past():
    test = after(3, look(*[0.5] * 700))
    stepped = test.next_step()
    assert (test.before, 2100) == (stepped.before, stepped.modes["step"].rollout.total)
    assert 0 == stepped.modes["step"].step.total
    assert stepped.wager.log_fail() == pytest.approx(test.wager.log_fail())
    assert VerdictOutcome.FAIL is RULE.assess(after(LOOKS - 3, look(*[0.5] * 700), stepped)).outcome
    assert replace(test, wager=stepped.wager, modes=stepped.modes) == stepped
