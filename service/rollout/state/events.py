"""Words of the state machine: phases, reasons, what may happen, what did happen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from service.rollout.analysis.verdict import Assessment
from service.rollout.plan.gate import GateMiss
from service.rollout.plan.rollout_plan import RolloutPlan


class Phase(StrEnum):
    """Where a rollout is. The last three but `ROLLED_BACK` pass at once: they are
    recorded so that a crash between the record and its effect is finished."""

    HEALTHY = "Healthy"
    PENDING = "Pending"
    WARMING_UP = "WarmingUp"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    ABORTING = "Aborting"
    ROLLED_BACK = "RolledBack"


FINAL = frozenset({Phase.HEALTHY, Phase.ROLLED_BACK})
LIVE = frozenset({Phase.WARMING_UP, Phase.PROGRESSING, Phase.PAUSED})
"""Phases in which the canary has traffic and guardrails run."""


class Reason(StrEnum):
    """Why a rollout moved."""

    START = "start"
    RETRY = "retry"
    UNDO = "undo"
    PREPARED = "prepared"
    PREPARE_FAILED = "prepare_failed"
    GATE_MISSED = "gate_missed"
    WARMED_UP = "warmed_up"
    STEP_PASSED = "step_passed"
    PLAN_PASSED = "plan_passed"
    PROMOTED = "promoted"
    FORCED = "forced"
    APPROVAL = "approval"
    BY_HAND = "by_hand"
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no_data"
    EVIDENCE_ERROR = "evidence_error"
    RESUMED = "resumed"
    PAUSE_DEADLINE = "pause_deadline"
    GUARDRAIL_FAILED = "guardrail_failed"
    ABORTED = "aborted"
    APPLIED = "applied"


class Verb(StrEnum):
    """What a person may ask for."""

    START = "start"
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    UNDO = "undo"


CONTROLLER = "controller"
"""The actor of the service's own moves."""

TRANSITIONS: frozenset[tuple[Phase, Phase, Reason]] = frozenset(
    (source, target, reason)
    for sources, target, reasons in (
        ("Healthy RolledBack", "Pending", "start undo"),
        ("RolledBack", "Pending", "retry"),
        ("Pending", "WarmingUp", "prepared"),
        ("Pending", "Promoting", "prepared"),
        ("WarmingUp", "Progressing", "warmed_up"),
        ("Progressing", "Progressing", "step_passed promoted forced"),
        ("Progressing", "Paused", "approval by_hand inconclusive no_data evidence_error"),
        ("WarmingUp", "Paused", "by_hand no_data evidence_error"),
        ("Paused", "WarmingUp", "resumed"),
        ("Paused", "Progressing", "resumed promoted forced"),
        ("Progressing", "Promoting", "plan_passed promoted forced"),
        ("Paused", "Promoting", "promoted forced"),
        ("Promoting", "Healthy", "applied"),
        ("Pending WarmingUp Progressing Paused Promoting", "Aborting", "aborted prepare_failed"),
        ("Pending WarmingUp Progressing Paused Promoting", "Aborting", "gate_missed"),
        ("WarmingUp Progressing Paused", "Aborting", "guardrail_failed"),
        ("Progressing", "Aborting", "inconclusive"),
        ("Paused", "Aborting", "pause_deadline"),
        ("Aborting", "RolledBack", "applied"),
    )
    for source in map(Phase, sources.split())
    for target in (Phase(target),)
    for reason in map(Reason, reasons.split())
)
"""Every move there is, from → to and why; the metrics' label sets come from it."""


@dataclass(frozen=True, slots=True)
class StartCommand:
    """A person starts a rollout of `canary`; `salt` is new with each. `retry`: the one
    that was rolled back, with its plan, once more. `missed` are the gate's figures that
    were missed and that an approver overrode."""

    canary: str
    plan: RolloutPlan
    salt: str
    actor: str
    note: str = ""
    retry: bool = False
    missed: tuple[GateMiss, ...] = ()

    @property
    def verb(self) -> Verb:
        """The request that this command answers."""
        return Verb.RETRY if self.retry else Verb.START


@dataclass(frozen=True, slots=True)
class UndoCommand:
    """A person wants the previous stable back."""

    verb: ClassVar[Verb] = Verb.UNDO

    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class PromoteCommand:
    """A person's go-ahead for the present step; `force` goes without a pass."""

    verb: ClassVar[Verb] = Verb.PROMOTE

    actor: str
    note: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class PauseCommand:
    """A person holds the weight where it is."""

    verb: ClassVar[Verb] = Verb.PAUSE

    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ResumeCommand:
    """A person ends a pause."""

    verb: ClassVar[Verb] = Verb.RESUME

    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class AbortCommand:
    """A person takes the canary out."""

    verb: ClassVar[Verb] = Verb.ABORT

    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class LoadSuccess:
    """The canary is loaded, its digest holds, its synthetic warm-up is done."""


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """The canary cannot be served, or must not be."""

    message: str
    reason: Reason = Reason.PREPARE_FAILED


@dataclass(frozen=True, slots=True)
class Tick:
    """A look. `canary_requests` are those since the last one, judged or not."""

    verdict: Assessment
    canary_requests: int


@dataclass(frozen=True, slots=True)
class TrafficSwitch:
    """The traffic is as `Promoting` or `Aborting` wants it."""


Event = (
    StartCommand
    | UndoCommand
    | PromoteCommand
    | PauseCommand
    | ResumeCommand
    | AbortCommand
    | LoadSuccess
    | LoadFailure
    | Tick
    | TrafficSwitch
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of the audit log, but for what the store adds. `at` in epoch seconds."""

    at: float
    generation: int
    actor: str
    reason: Reason
    note: str
    source: Phase
    target: Phase
    step: int
    weight_bp: int
    stable: str
    canary: str | None
    message: str
