"""The state machine under commands, assessments, clock jumps and crashes in any order."""

from __future__ import annotations

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.errors import Conflict
from service.rollout.analysis.verdict import VerdictOutcome
from service.rollout.controller.status import status
from service.rollout.outlook.outlook import ENDED
from service.rollout.state.change import Effect, apply, preview
from service.rollout.state.evaluation import MAX_ERRORS
from service.rollout.state.events import (
    CONTROLLER,
    FINAL,
    LIVE,
    TRANSITIONS,
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
)
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState, legal_verbs
from service.rollout.state.transitions import advance
from service.rollout.storage.record_json import dump_record, load_record
from tests.support.rollout_fakes import QUICK, SHADOWED, judgement, plan

pytestmark = pytest.mark.slow

PERSONAL = StartCommand | PromoteCommand | AbortCommand | PauseCommand | ResumeCommand | UndoCommand
SOAK = plan(
    steps=[
        {"weight": 10, "min_dwell_seconds": 10, "min_samples": 100},
        {"weight": 100, "min_dwell_seconds": 10, "min_samples": 100, "approval": True},
    ]
)
STRICT = plan(on_deadline="abort")
outcomes = st.sampled_from(VerdictOutcome)
samples = st.integers(0, 300)


class Story(RuleBasedStateMachine):
    """One rollout, and everything that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout = RolloutState("a")
        self.now = 1_700_000_000.0

    # --- what can happen ---

    @precondition(lambda self: self.rollout.phase in FINAL)
    @rule(canary=st.sampled_from("bc"), chosen=st.sampled_from([QUICK, SOAK, STRICT, SHADOWED]))
    def start(self, canary, chosen):
        if canary != self.rollout.stable:
            self.move(StartCommand(canary, chosen, "s", "me"))

    @precondition(lambda self: self.rollout.phase is Phase.ROLLED_BACK)
    @rule()
    def retry(self):
        last = self.rollout
        self.move(StartCommand(last.canary or "b", last.plan or QUICK, "t", "me", retry=True))

    @rule(event=st.sampled_from([LoadSuccess(), TrafficSwitch(), LoadFailure("damaged")]))
    def own(self, event):
        self.move(event)

    @precondition(lambda self: self.rollout.phase in {Phase.PENDING, Phase.PROMOTING})
    @rule()
    def goes_well(self):
        self.move(LoadSuccess() if self.rollout.phase is Phase.PENDING else TrafficSwitch())

    @rule(
        event=st.sampled_from(
            [
                PromoteCommand("me"),
                PromoteCommand("me", force=True),
                PauseCommand("me"),
                ResumeCommand("me"),
                UndoCommand("me"),
            ]
        )
    )
    def verb(self, event):
        self.move(event)

    @rule()
    def abort(self):
        self.move(AbortCommand("me"))

    @rule(outcome=outcomes, canary=samples, stable=samples, requests=st.integers(0, 20))
    def look(self, outcome, canary, stable, requests):
        self.move(AnalysisResult(judgement(outcome, canary, stable), requests))

    @precondition(lambda self: self.rollout.phase in LIVE)
    @rule()
    def good_look(self):
        self.now += 10
        self.move(AnalysisResult(judgement(VerdictOutcome.PASS), 50))

    @precondition(lambda self: self.rollout.phase in LIVE)
    @rule(outcome=outcomes)
    def late_look(self, outcome):
        self.now += 4000
        self.move(AnalysisResult(judgement(outcome), 50))

    @rule(seconds=st.one_of(st.floats(0, 30), st.floats(-1e6, 1e6)))
    def clock_jumps(self, seconds):
        self.now = max(0.0, self.now + seconds)

    @rule()
    def crash(self):
        """Only the stored record survives, and it is the same."""
        kept = dump_record(RolloutRecord(self.rollout))
        restarted = load_record(kept).rollout
        assert restarted == self.rollout
        self.rollout = restarted

    # --- what must hold of every move ---

    def move(self, event):
        before = self.rollout
        legal = {str(verb) for verb in legal_verbs(before)}
        try:
            after, transition = advance(before, event, self.now)
        except Conflict as error:
            refused = error
        else:
            refused = None
        if refused is not None:
            assert isinstance(event, PERSONAL)
            assert sorted(legal) == refused.details["legal"]
            return
        if isinstance(event, PERSONAL):
            assert transition is not None
            check_preview(before, event, after, self.now)
        self.rollout = after
        check_change(before, event, after, self.now)
        if transition is None:
            unmoved = (before.phase, before.generation, before.weight_bp, before.stable)
            assert unmoved == (after.phase, after.generation, after.weight_bp, after.stable)
        else:
            check_transition(before, event, after, transition)
        check_weight(before, event, after)
        if isinstance(event, AnalysisResult):
            check_look(before, event, after, self.now)
        if isinstance(event, StartCommand):
            check_fresh(before, event, after)
        if before.phase is Phase.ABORTING:
            assert after.phase in {Phase.ABORTING, Phase.ROLLED_BACK}, "a stop is no success"
            assert before.stable == after.stable

    @invariant()
    def without_a_live_rollout_there_is_no_canary(self):
        if self.rollout.phase in FINAL | {Phase.PENDING, Phase.ABORTING}:
            assert 0 == self.rollout.weight_bp == self.rollout.split().weight_bp
            assert self.rollout.split().canary is None

    @invariant()
    def a_shadow_has_no_weight(self):
        """Only a live shadow step has one."""
        split = self.rollout.split()
        present = self.rollout.current_step
        if split.shadow:
            assert 0 == split.weight_bp
            assert self.rollout.phase in LIVE
        if present is not None and self.rollout.phase in LIVE:
            assert present.shadow == split.shadow

    @invariant()
    def the_status_can_be_told(self):
        """In every state there is a headline, and the whole status is JSON."""
        told = status(RolloutRecord(self.rollout), recorded=True)
        json.dumps(told, allow_nan=False)
        assert told["headline"].endswith(".")
        over = told["outlook"] in ENDED
        assert over == (self.rollout.phase in FINAL | {Phase.ABORTING, Phase.PROMOTING})
        assert over == (told["next"]["action"] == "none")

    @invariant()
    def an_abort_is_legal_while_there_is_anything_to_abort(self):
        over = FINAL | {Phase.ABORTING}
        assert (self.rollout.phase not in over) == ("abort" in legal_verbs(self.rollout))


def check_preview(before, event, after, now):
    """A dry run reports where the command itself leads."""
    previewed = preview(RolloutRecord(before), event, now)
    assert previewed.transitions[0].target is after.phase
    if after.phase in {Phase.ABORTING, Phase.PROMOTING}:
        after, _ = advance(after, TrafficSwitch(), now)
    assert after == previewed.record.rollout


def check_change(before, event, after, now):
    """`apply` makes the same move, and orders its effects so that a crash adds no weight."""
    change = apply(RolloutRecord(before), event, now)
    if after.phase is Phase.ABORTING is not before.phase:
        assert Phase.ROLLED_BACK is change.record.rollout.phase, "an abort is never left half done"
        after, _ = advance(after, TrafficSwitch(), now)
    assert after == change.record.rollout
    assert len(change.audit) == len(change.transitions) == after.generation - before.generation
    effects = change.effects
    saves = [effects.index(e) for e in (Effect.SAVE, Effect.SAVE_OR_RETRY) if e in effects]
    assert 1 == len(saves), "every event is stored, once"
    traffic = effects.index(Effect.SET_TRAFFIC)
    promoting = after.phase is Phase.PROMOTING is not before.phase
    raised = after.weight_bp > before.weight_bp or promoting
    taken = after.split().canary is None is not before.split().canary
    if raised:
        assert Effect.SAVE in effects
        assert saves[0] < traffic, "recorded before it is raised"
    if taken:
        assert Effect.SAVE_OR_RETRY in effects
        assert traffic < saves[0], "lowered before it is recorded"
    assert before == change.unsaved.rollout
    assert (Effect.PUBLISH in effects) == bool(change.transitions)
    assert (Effect.LOAD_CANARY in effects) == (after.phase is Phase.PENDING is not before.phase)


def check_transition(before, event, after, transition):
    move = (transition.source, transition.target, transition.reason)
    assert move in TRANSITIONS
    assert (before.phase, after.phase) == (transition.source, transition.target)
    assert before.generation + 1 == after.generation == transition.generation
    assert transition.message
    assert (transition.actor == CONTROLLER) == (not isinstance(event, PERSONAL))
    if isinstance(event, AbortCommand):
        assert Phase.ABORTING is after.phase
    if before.phase is Phase.PAUSED and after.phase in LIVE - {Phase.PAUSED}:
        assert isinstance(event, ResumeCommand | PromoteCommand)


def check_weight(before, event, after):
    """Only a pass or a person's command raises it or makes the canary stable."""
    raised = after.weight_bp > before.weight_bp
    promoting = after.phase is Phase.PROMOTING is not before.phase
    if promoting or (raised and before.phase in LIVE):
        passed = (
            isinstance(event, AnalysisResult) and event.assessment.outcome is VerdictOutcome.PASS
        )
        undone = isinstance(event, LoadSuccess) and before.undoing
        assert passed or undone or isinstance(event, PromoteCommand)
        if isinstance(event, PromoteCommand) and not event.force:
            assert before.passed
    if after.stable != before.stable:
        assert (Phase.PROMOTING, before.canary) == (before.phase, after.stable)
        assert before.stable == after.previous


def check_look(before, event, after, now):
    outcome, moved = event.assessment.outcome, after.phase is not before.phase
    if before.phase not in LIVE:
        assert not moved
        return
    if outcome is VerdictOutcome.FAIL:
        assert Phase.ABORTING is after.phase, "guards run in every live phase, paused or not"
        return
    if after.phase is Phase.PROMOTING or after.step > before.step:
        assert Phase.PROGRESSING is before.phase
        assert event.assessment.canary >= before.current_step.min_samples
        assert event.assessment.stable >= before.current_step.min_samples
        assert not before.current_step.approval
    since = min(before.since, now)
    if before.phase is Phase.PAUSED:
        overdue = now - since >= before.plan.pause_deadline_seconds
        assert overdue == (after.phase is Phase.ABORTING), "a pause has a deadline"
        return
    if not event.assessment.canary or outcome is VerdictOutcome.ERROR:
        # No data and no reading neither pass nor fail.
        assert after.phase in {before.phase, Phase.PAUSED, Phase.PROGRESSING}
        assert after.weight_bp == before.weight_bp
    if outcome is VerdictOutcome.ERROR:
        assert (before.errors + 1 >= MAX_ERRORS) == (after.phase is Phase.PAUSED)
    if after.phase is Phase.ABORTING:
        assert (Reason.INCONCLUSIVE, "abort") == (after.reason, before.plan.on_deadline)


def check_fresh(before, event, after):
    """A start, new or repeated, begins without evidence."""
    blank = RolloutState(before.stable, Phase.PENDING, canary=event.canary, plan=event.plan)
    for name in ("step", "step_since", "warmed", "passed", "warm_up_requests", "errors"):
        assert getattr(blank, name) == getattr(after, name)
    again = before.phase is Phase.ROLLED_BACK and before.canary == event.canary
    tried = before.attempts.get(event.canary, 0)
    assert after.attempt in ({tried, tried + 1} if again and tried else {tried + 1})


TestStory = Story.TestCase
TestStory.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, report_multiple_bugs=False
)
