"""One step of a rollout: its effects, its audit rows and the evidence it keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.errors import Conflict
from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.guardrails.latency import LatencyState
from service.rollout.analysis.verdict import Verdict, VerdictOutcome
from service.rollout.state.change import Effect, apply, preview
from service.rollout.state.events import (
    AbortCommand,
    AnalysisResult,
    LoadFailure,
    LoadSuccess,
    PauseCommand,
    Phase,
    PromoteCommand,
    StartCommand,
    TrafficSwitch,
)
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from tests.support.rollout_fakes import EDGES, QUICK, judgement

NOW = 1_700_000_000.0
LOWER = (Effect.SET_TRAFFIC, Effect.SAVE_OR_RETRY, Effect.PUBLISH)
RAISE = (Effect.SAVE, Effect.SET_TRAFFIC, Effect.PUBLISH)
EVIDENCE = Evidence(EDGES, {"latency": LatencyState()})


def record(phase: Phase, **changes) -> RolloutRecord:
    base = {"canary": "b", "plan": QUICK, "salt": "s", "since": NOW, "step_since": NOW}
    rollout = RolloutState("a", phase, **{**base, "warmed": True, **changes})
    return RolloutRecord(rollout, EVIDENCE, analysed_at=NOW)


def result(outcome: VerdictOutcome) -> AnalysisResult:
    return AnalysisResult(judgement(outcome), 50, EVIDENCE, analysed_at=NOW + 20)


@pytest.mark.parametrize(
    ("before", "event", "effects"),
    [
        (
            RolloutRecord(RolloutState("a")),
            StartCommand("b", QUICK, "s", "me"),
            (*RAISE, Effect.LOAD_CANARY),
        ),
        (record(Phase.PENDING), LoadSuccess(), RAISE),
        (record(Phase.PENDING), LoadFailure("damaged"), LOWER),
        (record(Phase.PROGRESSING), result(VerdictOutcome.PASS), RAISE),
        (record(Phase.PROGRESSING), result(VerdictOutcome.FAIL), LOWER),
        (
            record(Phase.PROGRESSING),
            result(VerdictOutcome.INCONCLUSIVE),
            (Effect.SET_TRAFFIC, Effect.SAVE_OR_RETRY),
        ),
        (record(Phase.PROGRESSING), PauseCommand("me"), RAISE),
        (record(Phase.PROGRESSING), AbortCommand("me"), LOWER),
        (
            record(Phase.PROGRESSING, step=1),
            PromoteCommand("me", force=True),
            (*RAISE, Effect.FINISH_PROMOTION),
        ),
        (record(Phase.PROMOTING, step=1), TrafficSwitch(), LOWER),
        (record(Phase.ABORTING), TrafficSwitch(), LOWER),
    ],
)
def test_the_order_of_effects(before, event, effects):
    """A weight is lowered before it is stored, and stored before it is raised."""
    assert effects == apply(before, event, NOW + 20).effects


def test_an_abort_ends_in_the_same_change():
    change = apply(record(Phase.PROGRESSING), AbortCommand("me", "why"), NOW)
    assert [Phase.ABORTING, Phase.ROLLED_BACK] == [t.target for t in change.transitions]
    assert ["me", "controller"] == [row["actor"] for row in change.audit]
    assert Phase.ROLLED_BACK is change.record.rollout.phase
    assert change.record.rollout.split().canary is None


def test_a_result_that_cannot_be_saved_still_counts():
    """The requests and shadow copies of a measurement are read only once."""
    before = record(Phase.PROGRESSING)
    passed = result(VerdictOutcome.PASS)
    change = apply(before, passed, NOW + 20)
    assert 1 == change.record.rollout.step
    assert before.rollout == change.unsaved.rollout
    assert (passed.analysed_at, passed.assessment) == (
        change.unsaved.analysed_at,
        change.unsaved.assessment,
    )


def test_the_audit_row_has_the_verdicts_that_led_to_it():
    verdict = Verdict("latency", VerdictOutcome.FAIL, "too slow", 1.2, 5.0, 5.0)
    failed = replace(judgement(VerdictOutcome.FAIL), verdicts=(verdict,))
    change = apply(record(Phase.PROGRESSING), AnalysisResult(failed, 0, EVIDENCE), NOW)
    assert [verdict.to_json(required=False)] == change.audit[0]["evidence"]
    assert change.audit[1]["evidence"] is None


def test_a_start_begins_without_evidence():
    before = replace(record(Phase.ROLLED_BACK), assessment=judgement(VerdictOutcome.FAIL))
    change = apply(before, StartCommand("b", QUICK, "t", "me"), NOW)
    assert RolloutRecord(change.record.rollout, seen_at=NOW) == change.record
    assert change.audit[0]["evidence"] is None


def test_a_preview_includes_the_end_of_a_promotion():
    before = record(Phase.PROGRESSING, step=1)
    change = preview(before, PromoteCommand("me", force=True), NOW)
    assert [Phase.PROMOTING, Phase.HEALTHY] == [t.target for t in change.transitions]
    assert ("b", "a") == (change.record.rollout.stable, change.record.rollout.previous)


def test_a_command_that_is_not_legal_is_a_conflict():
    with pytest.raises(Conflict):
        apply(RolloutRecord(RolloutState("a")), AbortCommand("me"), NOW)
