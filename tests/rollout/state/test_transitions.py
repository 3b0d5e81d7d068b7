"""The state machine: a table of its transitions, and its rules one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.errors import Conflict
from service.rollout.analysis.verdict import VerdictOutcome
from service.rollout.routing.traffic_split import TrafficSplit
from service.rollout.state.evaluation import MAX_ERRORS
from service.rollout.state.events import (
    AbortCommand,
    AnalysisResult,
    LoadFailure,
    LoadSuccess,
    PauseCommand,
    Phase,
    PromoteCommand,
    Reason,
    ResumeCommand,
    StartCommand,
    TrafficSwitch,
    UndoCommand,
    Verb,
)
from service.rollout.state.rollout_state import RolloutState, legal_verbs
from service.rollout.state.transitions import advance
from tests.support.rollout_fakes import QUICK, judgement, plan

NOW = 1_700_000_000.0
SOAK = plan(
    steps=[
        {"weight": 10, "min_dwell_seconds": 10, "min_samples": 100},
        {"weight": 100, "min_dwell_seconds": 10, "min_samples": 100, "approval": True},
    ]
)


def at(phase: Phase, **changes) -> RolloutState:
    base = {"canary": "b", "plan": QUICK, "salt": "s", "generation": 5, "since": NOW}
    return RolloutState("a", phase, **{**base, "step_since": NOW, "warmed": True, **changes})


def result(
    outcome=VerdictOutcome.INCONCLUSIVE, canary=1000, stable=1000, requests=50
) -> AnalysisResult:
    return AnalysisResult(judgement(outcome, canary, stable), requests)


PASS, FAIL, OPEN, ERROR = (
    result(outcome)
    for outcome in (
        VerdictOutcome.PASS,
        VerdictOutcome.FAIL,
        VerdictOutcome.INCONCLUSIVE,
        VerdictOutcome.ERROR,
    )
)
PROGRESSING, PAUSED = at(Phase.PROGRESSING), at(Phase.PAUSED, reason=Reason.BY_HAND)
AGAIN = StartCommand("b", QUICK, "t", "me", retry=True)
WARMING = at(Phase.WARMING_UP, warmed=False)


@pytest.mark.parametrize(
    ("rollout", "event", "after", "phase", "reason"),
    [
        (RolloutState("a"), StartCommand("b", QUICK, "s", "me"), 0, "Pending", "start"),
        (at(Phase.PENDING), LoadSuccess(), 0, "WarmingUp", "prepared"),
        (at(Phase.PENDING), LoadFailure("damaged"), 0, "Aborting", "prepare_failed"),
        (WARMING, OPEN, 10, "Progressing", "warmed_up"),
        (WARMING, OPEN, 9, None, None),
        (WARMING, result(requests=9), 10, None, None),
        (WARMING, PASS, 5, None, None),
        (WARMING, FAIL, 5, "Aborting", "guardrail_failed"),
        (WARMING, result(requests=0), 600, "Paused", "no_data"),
        (PROGRESSING, PASS, 10, "Progressing", "step_passed"),
        (PROGRESSING, PASS, 9, None, None),
        (PROGRESSING, result(VerdictOutcome.PASS, canary=99), 10, None, None),
        (PROGRESSING, result(VerdictOutcome.PASS, stable=99), 10, None, None),
        (PROGRESSING, OPEN, 599, None, None),
        (PROGRESSING, OPEN, 600, "Paused", "inconclusive"),
        (PROGRESSING, result(canary=0, stable=0), 600, "Paused", "no_data"),
        (PROGRESSING, FAIL, 0, "Aborting", "guardrail_failed"),
        (PROGRESSING, ERROR, 10, None, None),
        (at(Phase.PROGRESSING, step=1), PASS, 10, "Promoting", "plan_passed"),
        (
            at(Phase.PROGRESSING, plan=plan(on_deadline="abort")),
            OPEN,
            600,
            "Aborting",
            "inconclusive",
        ),
        (
            at(Phase.PROGRESSING, plan=plan(on_deadline="abort")),
            result(canary=0, stable=0),
            600,
            "Paused",
            "no_data",
        ),
        (at(Phase.PROGRESSING, plan=SOAK, step=1), result(stable=0), 10, "Paused", "approval"),
        (at(Phase.PROGRESSING, plan=SOAK, step=1), result(canary=0, stable=0), 10, None, None),
        (PROGRESSING, PauseCommand("me"), 0, "Paused", "by_hand"),
        (PROGRESSING, PromoteCommand("me", force=True), 0, "Progressing", "forced"),
        (at(Phase.PROGRESSING, passed=True), PromoteCommand("me"), 0, "Progressing", "promoted"),
        (
            at(Phase.PROGRESSING, passed=True, step=1),
            PromoteCommand("me"),
            0,
            "Promoting",
            "promoted",
        ),
        (PAUSED, FAIL, 0, "Aborting", "guardrail_failed"),
        (PAUSED, PASS, 100, None, None),
        (PAUSED, OPEN, 3600, "Aborting", "pause_deadline"),
        (PAUSED, ERROR, 3600, "Aborting", "pause_deadline"),
        (PAUSED, ResumeCommand("me"), 0, "Progressing", "resumed"),
        (replace(PAUSED, warmed=False), ResumeCommand("me"), 0, "WarmingUp", "resumed"),
        (replace(PAUSED, passed=True), PromoteCommand("me"), 0, "Progressing", "promoted"),
        (at(Phase.PROMOTING), TrafficSwitch(), 0, "Healthy", "applied"),
        (at(Phase.PROMOTING), AbortCommand("me"), 0, "Aborting", "aborted"),
        (at(Phase.ABORTING), TrafficSwitch(), 0, "RolledBack", "applied"),
        (at(Phase.ROLLED_BACK), StartCommand("c", QUICK, "t", "me"), 0, "Pending", "start"),
        (at(Phase.ROLLED_BACK), AGAIN, 0, "Pending", "retry"),
        (at(Phase.ROLLED_BACK), FAIL, 0, None, None),
        (at(Phase.ROLLED_BACK), LoadSuccess(), 0, None, None),
        (RolloutState("a", previous="z"), UndoCommand("me"), 0, "Pending", "undo"),
    ],
)
def test_transitions(rollout, event, after, phase, reason):
    """State, event, seconds later, then the target phase and reason; None: no transition."""
    moved, transition = advance(rollout, event, NOW + after)
    if phase is None:
        assert transition is None
        assert (rollout.phase, rollout.generation) == (moved.phase, moved.generation)
        return
    assert (phase, reason) == (transition.target, transition.reason)
    assert phase == moved.phase
    assert rollout.generation + 1 == moved.generation == transition.generation


@pytest.mark.parametrize(
    ("rollout", "legal"),
    [
        (RolloutState("a"), {"start"}),
        (RolloutState("a", previous="z"), {"start", "undo"}),
        (at(Phase.PENDING), {"abort"}),
        (WARMING, {"abort", "pause"}),
        (PROGRESSING, {"abort", "pause", "promote"}),
        (PAUSED, {"abort", "promote", "resume"}),
        (at(Phase.PAUSED, reason=Reason.APPROVAL), {"abort", "promote"}),
        (at(Phase.PROMOTING), {"abort"}),
        (at(Phase.ABORTING), set()),
        (at(Phase.ROLLED_BACK), {"retry", "start"}),
        (at(Phase.ROLLED_BACK, previous="z"), {"retry", "start", "undo"}),
        (at(Phase.ROLLED_BACK, plan=None), {"start"}),
        (at(Phase.ROLLED_BACK, canary=None), {"start"}),
    ],
)
def test_an_illegal_verb_is_refused_and_the_legal_ones_are_listed(rollout, legal):
    assert legal == {str(verb) for verb in legal_verbs(rollout)}
    events = {
        Verb.START: StartCommand("b", QUICK, "s", "me"),
        Verb.PROMOTE: PromoteCommand("me", force=True),
        Verb.ABORT: AbortCommand("me"),
        Verb.PAUSE: PauseCommand("me"),
        Verb.RESUME: ResumeCommand("me"),
        Verb.RETRY: AGAIN,
        Verb.UNDO: UndoCommand("me"),
    }
    for verb, event in events.items():
        if verb in legal:
            assert advance(rollout, event, NOW)[1] is not None
            continue
        with pytest.raises(Conflict) as caught:
            advance(rollout, event, NOW)
        assert {"legal": sorted(legal), "phase": str(rollout.phase)} == caught.value.details


def test_a_promote_without_a_pass_has_a_conflict_code_of_its_own():
    with pytest.raises(Conflict) as caught:
        advance(PROGRESSING, PromoteCommand("me"), NOW)
    assert "guardrails_not_passed" == caught.value.code


def test_a_pause_for_unreadable_evidence_takes_several_in_a_row():
    rollout = PROGRESSING
    for _ in range(MAX_ERRORS - 1):
        rollout, transition = advance(rollout, ERROR, NOW)
        assert transition is None
    assert 0 == advance(rollout, OPEN, NOW)[0].errors
    assert Reason.EVIDENCE_ERROR is advance(rollout, ERROR, NOW)[1].reason


def test_promotion_and_undo_swap_the_versions():
    promoted, _ = advance(at(Phase.PROMOTING, reason=Reason.PLAN_PASSED), TrafficSwitch(), NOW)
    assert ("b", None, "a") == (promoted.stable, promoted.canary, promoted.previous)
    assert Reason.PLAN_PASSED is promoted.reason
    undone, _ = advance(promoted, UndoCommand("me"), NOW)
    assert TrafficSplit("b") == undone.split()
    undone, _ = advance(undone, LoadSuccess(), NOW)
    undone, _ = advance(undone, TrafficSwitch(), NOW)
    assert ("a", None, "b") == (undone.stable, undone.canary, undone.previous)
    assert Phase.HEALTHY is undone.phase


@pytest.mark.parametrize(
    ("rollout", "event", "attempt"),
    [
        (RolloutState("a"), StartCommand("b", QUICK, "t", "me"), 1),
        (at(Phase.ROLLED_BACK, attempts={"b": 4}), AGAIN, 5),
        (at(Phase.ROLLED_BACK, attempts={"b": 4}), StartCommand("b", SOAK, "t", "me"), 5),
        (at(Phase.ROLLED_BACK, attempts={"b": 4}), StartCommand("c", QUICK, "t", "me"), 1),
        (at(Phase.ROLLED_BACK, attempts={"b": 1}, step_since=0.0), AGAIN, 1),
        (at(Phase.ROLLED_BACK, attempts={"b": 4}, step_since=0.0), AGAIN, 4),
    ],
)
def test_attempts_of_one_canary_are_counted(rollout, event, attempt):
    """By start and by retry alike; a start that never got traffic is not an attempt."""
    assert attempt == advance(rollout, event, NOW)[0].attempt


def test_a_clock_set_back_restarts_the_wait():
    """The wait neither ends at once nor lasts for ever."""
    rollout, _ = advance(PROGRESSING, OPEN, NOW - 86_400)
    assert advance(rollout, PASS, NOW - 86_400 + 9)[1] is None
    assert advance(rollout, PASS, NOW - 86_400 + 10)[1] is not None


def test_starts_of_the_same_canary_are_counted_until_stable_changes():
    """They share one alpha, which starts afresh with another stable version."""
    rollout = RolloutState("a")
    for canary, expected in (("b", 1), ("b", 2), ("c", 1), ("b", 3)):
        rollout, _ = advance(rollout, StartCommand(canary, QUICK, "s", "me"), NOW)
        assert expected == rollout.attempt
        rollout, _ = advance(rollout, LoadSuccess(), NOW)
        rollout, _ = advance(rollout, AbortCommand("me"), NOW)
        rollout, _ = advance(rollout, TrafficSwitch(), NOW)
    rollout, _ = advance(rollout, StartCommand("b", QUICK, "s", "me"), NOW)
    rollout, _ = advance(replace(rollout, phase=Phase.PROMOTING), TrafficSwitch(), NOW)
    assert {} == rollout.attempts
