"""The state machine: a table of its moves, and its invariants under anything at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_fakes import QUICK, judgement, plan

from service.errors import Conflict
from service.rollout.events import (
    CONTROLLER,
    FINAL,
    LIVE,
    TRANSITIONS,
    Abort,
    Applied,
    Pause,
    Phase,
    Prepared,
    PrepareFailed,
    Promote,
    Reason,
    Resume,
    Start,
    Tick,
    Undo,
    Verb,
)
from service.rollout.rollout import Rollout, legal_verbs
from service.rollout.state import MAX_ERRORS, advance
from service.rollout.store import _RECORD, Record
from service.rollout.traffic import Assignment
from service.rollout.verdict import Outcome

NOW = 1_700_000_000.0
SOAK = plan(
    steps=[
        {"weight": 10, "min_dwell_seconds": 10, "min_samples": 100},
        {"weight": 100, "min_dwell_seconds": 10, "min_samples": 100, "approval": True},
    ]
)


def at(phase: Phase, **changes) -> Rollout:
    base = {"canary": "b", "plan": QUICK, "salt": "s", "generation": 5, "since": NOW}
    return Rollout("a", phase, **{**base, "step_since": NOW, "warmed": True, **changes})


def tick(outcome=Outcome.INCONCLUSIVE, canary=1000, stable=1000, requests=50) -> Tick:
    return Tick(judgement(outcome, canary, stable), requests)


PASS, FAIL, OPEN, ERROR = (
    tick(outcome) for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.ERROR)
)
PROGRESSING, PAUSED = at(Phase.PROGRESSING), at(Phase.PAUSED, reason=Reason.BY_HAND)
WARMING = at(Phase.WARMING_UP, warmed=False)


@pytest.mark.parametrize(
    ("rollout", "event", "after", "phase", "reason"),
    [
        (Rollout("a"), Start("b", QUICK, "s", "me"), 0, "Pending", "start"),
        (at(Phase.PENDING), Prepared(), 0, "WarmingUp", "prepared"),
        (at(Phase.PENDING), PrepareFailed("damaged"), 0, "Aborting", "prepare_failed"),
        (WARMING, OPEN, 10, "Progressing", "warmed_up"),
        (WARMING, OPEN, 9, None, None),
        (WARMING, tick(requests=9), 10, None, None),
        (WARMING, PASS, 5, None, None),
        (WARMING, FAIL, 5, "Aborting", "guardrail_failed"),
        (WARMING, tick(requests=0), 600, "Paused", "no_data"),
        (PROGRESSING, PASS, 10, "Progressing", "step_passed"),
        (PROGRESSING, PASS, 9, None, None),
        (PROGRESSING, tick(Outcome.PASS, canary=99), 10, None, None),
        (PROGRESSING, tick(Outcome.PASS, stable=99), 10, None, None),
        (PROGRESSING, OPEN, 599, None, None),
        (PROGRESSING, OPEN, 600, "Paused", "inconclusive"),
        (PROGRESSING, tick(canary=0, stable=0), 600, "Paused", "no_data"),
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
            tick(canary=0, stable=0),
            600,
            "Paused",
            "no_data",
        ),
        (at(Phase.PROGRESSING, plan=SOAK, step=1), tick(stable=0), 10, "Paused", "approval"),
        (at(Phase.PROGRESSING, plan=SOAK, step=1), tick(canary=0, stable=0), 10, None, None),
        (PROGRESSING, Pause("me"), 0, "Paused", "by_hand"),
        (PROGRESSING, Promote("me", force=True), 0, "Progressing", "forced"),
        (at(Phase.PROGRESSING, passed=True), Promote("me"), 0, "Progressing", "promoted"),
        (at(Phase.PROGRESSING, passed=True, step=1), Promote("me"), 0, "Promoting", "promoted"),
        (PAUSED, FAIL, 0, "Aborting", "guardrail_failed"),
        (PAUSED, PASS, 100, None, None),
        (PAUSED, OPEN, 3600, "Aborting", "pause_deadline"),
        (PAUSED, ERROR, 3600, "Aborting", "pause_deadline"),
        (PAUSED, Resume("me"), 0, "Progressing", "resumed"),
        (replace(PAUSED, warmed=False), Resume("me"), 0, "WarmingUp", "resumed"),
        (replace(PAUSED, passed=True), Promote("me"), 0, "Progressing", "promoted"),
        (at(Phase.PROMOTING), Applied(), 0, "Healthy", "applied"),
        (at(Phase.PROMOTING), Abort("me"), 0, "Aborting", "aborted"),
        (at(Phase.ABORTING), Applied(), 0, "RolledBack", "applied"),
        (at(Phase.ROLLED_BACK), Start("c", QUICK, "t", "me"), 0, "Pending", "start"),
        (at(Phase.ROLLED_BACK), FAIL, 0, None, None),
        (at(Phase.ROLLED_BACK), Prepared(), 0, None, None),
        (Rollout("a", previous="z"), Undo("me"), 0, "Pending", "undo"),
    ],
)
def test_moves(rollout, event, after, phase, reason):
    """From a state, by an event, so many seconds later; None: it stays."""
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
        (Rollout("a"), {"start"}),
        (Rollout("a", previous="z"), {"start", "undo"}),
        (at(Phase.PENDING), {"abort"}),
        (WARMING, {"abort", "pause"}),
        (PROGRESSING, {"abort", "pause", "promote"}),
        (PAUSED, {"abort", "promote", "resume"}),
        (at(Phase.PAUSED, reason=Reason.APPROVAL), {"abort", "promote"}),
        (at(Phase.PROMOTING), {"abort"}),
        (at(Phase.ABORTING), set()),
        (at(Phase.ROLLED_BACK), {"start"}),
    ],
)
def test_an_illegal_verb_is_refused_and_the_legal_ones_are_listed(rollout, legal):
    assert legal == {str(verb) for verb in legal_verbs(rollout)}
    events = {
        Verb.START: Start("b", QUICK, "s", "me"),
        Verb.PROMOTE: Promote("me", force=True),
        Verb.ABORT: Abort("me"),
        Verb.PAUSE: Pause("me"),
        Verb.RESUME: Resume("me"),
        Verb.UNDO: Undo("me"),
    }
    for verb, event in events.items():
        if verb in legal:
            assert advance(rollout, event, NOW)[1] is not None
            continue
        with pytest.raises(Conflict) as caught:
            advance(rollout, event, NOW)
        assert {"legal": sorted(legal), "phase": str(rollout.phase)} == caught.value.details


def test_a_promote_without_a_pass_is_a_conflict_of_its_own():
    with pytest.raises(Conflict) as caught:
        advance(PROGRESSING, Promote("me"), NOW)
    assert "guardrails_not_passed" == caught.value.code


def test_a_pause_for_unreadable_evidence_takes_several_in_a_row():
    rollout = PROGRESSING
    for _ in range(MAX_ERRORS - 1):
        rollout, transition = advance(rollout, ERROR, NOW)
        assert transition is None
    assert 0 == advance(rollout, OPEN, NOW)[0].errors
    assert Reason.EVIDENCE_ERROR is advance(rollout, ERROR, NOW)[1].reason


def test_promotion_and_undo_swap_the_versions():
    promoted, _ = advance(at(Phase.PROMOTING, reason=Reason.PLAN_PASSED), Applied(), NOW)
    assert ("b", None, "a") == (promoted.stable, promoted.canary, promoted.previous)
    assert Reason.PLAN_PASSED is promoted.reason
    undone, _ = advance(promoted, Undo("me"), NOW)
    assert Assignment("b") == undone.assignment()
    undone, _ = advance(undone, Prepared(), NOW)
    undone, _ = advance(undone, Applied(), NOW)
    assert ("a", None, "b") == (undone.stable, undone.canary, undone.previous)
    assert Phase.HEALTHY is undone.phase


def test_a_clock_set_back_restarts_the_wait():
    """It neither ends nor never ends."""
    rollout, _ = advance(PROGRESSING, OPEN, NOW - 86_400)
    assert advance(rollout, PASS, NOW - 86_400 + 9)[1] is None
    assert advance(rollout, PASS, NOW - 86_400 + 10)[1] is not None


def test_starts_of_the_same_canary_are_counted_until_stable_changes():
    """They share one alpha; another stable is another question."""
    rollout = Rollout("a")
    for canary, expected in (("b", 1), ("b", 2), ("c", 1), ("b", 3)):
        rollout, _ = advance(rollout, Start(canary, QUICK, "s", "me"), NOW)
        assert expected == rollout.attempt
        rollout, _ = advance(rollout, Abort("me"), NOW)
        rollout, _ = advance(rollout, Applied(), NOW)
    rollout, _ = advance(rollout, Start("b", QUICK, "s", "me"), NOW)
    rollout, _ = advance(replace(rollout, phase=Phase.PROMOTING), Applied(), NOW)
    assert {} == rollout.attempts


verdicts = st.builds(
    tick,
    st.sampled_from(Outcome),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 20),
)
events = st.one_of(
    verdicts,
    verdicts,
    verdicts,
    st.sampled_from(
        [
            Start("b", QUICK, "s", "me"),
            Start("c", SOAK, "t", "me"),
            Promote("me"),
            Promote("me", force=True),
            Abort("me"),
            Pause("me"),
            Resume("me"),
            Undo("me"),
            Prepared(),
            Prepared(),
            PrepareFailed("damaged"),
            Applied(),
            Applied(),
        ]
    ),
)
jumps = st.one_of(st.floats(0, 30), st.floats(-1e6, 1e6))


@settings(max_examples=300)
@given(st.lists(st.tuples(events, jumps, st.booleans()), max_size=60))
def test_invariants_under_any_story(story):
    """Any verbs, verdicts, clock jumps and crashes, in any order."""
    rollout, now = Rollout("a"), NOW
    for event, jump, crash in story:
        now = max(0.0, now + jump)
        if crash:
            kept = _RECORD.dump_json(Record(rollout))
            assert Record(rollout) == _RECORD.validate_json(kept, strict=True)
        before = rollout
        try:
            rollout, transition = advance(before, event, now)
        except Conflict:
            continue
        check(before, event, rollout, transition)


def check(before, event, after, transition):
    if transition is None:
        assert (before.phase, before.generation, before.weight_bp) == (
            after.phase,
            after.generation,
            after.weight_bp,
        )
    else:
        move = (transition.source, transition.target, transition.reason)
        assert move in TRANSITIONS
        assert (before.phase, after.phase) == (transition.source, transition.target)
        assert before.generation + 1 == after.generation
        assert transition.message
        assert (transition.actor == CONTROLLER) == (
            not isinstance(event, Start | Promote | Abort | Pause | Resume | Undo)
        )
    if after.phase in FINAL | {Phase.PENDING, Phase.ABORTING}:
        assert 0 == after.weight_bp == after.assignment().weight_bp
        assert after.assignment().canary is None
    if isinstance(event, Abort):
        assert Phase.ABORTING is after.phase
    if isinstance(event, Tick):
        check_tick(before, event, after)
    if after.stable != before.stable:
        assert (Phase.PROMOTING, before.canary) == (before.phase, after.stable)
        assert before.stable == after.previous
    if before.phase is Phase.PAUSED and after.phase in LIVE - {Phase.PAUSED}:
        assert isinstance(event, Resume | Promote)


def check_tick(before, event, after):
    outcome = event.verdict.outcome
    if before.phase in LIVE and outcome is Outcome.FAIL:
        assert Phase.ABORTING is after.phase
    if after.phase is Phase.PROMOTING:
        assert outcome is Outcome.PASS
        assert event.verdict.canary >= before.present.min_samples
        assert event.verdict.stable >= before.present.min_samples
        assert not before.present.approval
    raised = after.weight_bp > before.weight_bp
    if raised:
        assert outcome is Outcome.PASS
        assert Phase.PROGRESSING is before.phase
    if not event.verdict.canary or outcome is Outcome.ERROR:
        assert not raised
        assert Phase.PROMOTING is not after.phase
        if Phase.ABORTING is after.phase:
            assert (
                outcome is Outcome.FAIL
                or after.reason is Reason.PAUSE_DEADLINE
                or (before.phase is Phase.ABORTING)
            )
