"""The vocabulary of the state machine: phases, reasons, verbs, events and transitions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.rollout.analysis.verdict import Assessment
from service.rollout.plan.gate import GateMiss
from service.rollout.plan.rollout_plan import RolloutPlan


class Phase(StrEnum):
    """Where a rollout is.

    `PROMOTING` and `ABORTING` end at once. They are phases of their own so that a restart
    after a crash finishes what was recorded but not yet carried out.
    """

    HEALTHY = "Healthy"
    PENDING = "Pending"
    WARMING_UP = "WarmingUp"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    ABORTING = "Aborting"
    ROLLED_BACK = "RolledBack"


FINAL = frozenset({Phase.HEALTHY, Phase.ROLLED_BACK})
"""Phases without a rollout in progress."""

LIVE = frozenset({Phase.WARMING_UP, Phase.PROGRESSING, Phase.PAUSED})
"""Phases in which the canary has traffic and the guardrails are evaluated."""


class Reason(StrEnum):
    """Why a rollout changed its phase or step."""

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
    REPLICAS_DIED = "replicas_died"
    RESUMED = "resumed"
    PAUSE_DEADLINE = "pause_deadline"
    GUARDRAIL_FAILED = "guardrail_failed"
    ABORTED = "aborted"
    APPLIED = "applied"


class Verb(StrEnum):
    """What a person may request."""

    START = "start"
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    UNDO = "undo"


CONTROLLER = "controller"
"""The actor of transitions that no person requested."""

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
        ("WarmingUp Progressing", "Paused", "replicas_died"),
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
"""Every possible transition: source, target and reason. The metrics' label sets come from it."""


@dataclass(frozen=True, slots=True)
class StartCommand:
    """Start a rollout of `canary`.

    `salt` is new for every rollout. `retry` repeats the rollout that was rolled back.
    `missed` are the gate criteria that an approver overrode.
    """

    canary: str
    plan: RolloutPlan
    salt: str
    actor: str
    note: str = ""
    retry: bool = False
    missed: tuple[GateMiss, ...] = ()

    @property
    def verb(self) -> Verb:
        """The request behind this command."""
        return Verb.RETRY if self.retry else Verb.START


@dataclass(frozen=True, slots=True)
class UndoCommand:
    """Make the previous stable version stable again."""

    verb: ClassVar[Verb] = Verb.UNDO

    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class PromoteCommand:
    """Go to the next step, or promote the canary from the last one.

    `force` does so although the guardrails have not passed.
    """

    verb: ClassVar[Verb] = Verb.PROMOTE

    actor: str
    note: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class PauseCommand:
    """Hold the current weight."""

    verb: ClassVar[Verb] = Verb.PAUSE

    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ResumeCommand:
    """End a pause."""

    verb: ClassVar[Verb] = Verb.RESUME

    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class AbortCommand:
    """Roll the canary back."""

    verb: ClassVar[Verb] = Verb.ABORT

    actor: str
    note: str = ""


Command = StartCommand | UndoCommand | PromoteCommand | PauseCommand | ResumeCommand | AbortCommand
"""What a person requests."""


@dataclass(frozen=True, slots=True)
class AnalysisBaseline:
    """The counters before the canary's first request; counting starts from them.

    `analysed_at` is in epoch seconds.
    """

    evidence: Evidence
    snapshot: Snapshot
    analysed_at: float


@dataclass(frozen=True, slots=True)
class LoadSuccess:
    """The canary is loaded, its digest is verified and its synthetic warm-up is done.

    Without a `baseline`, counting starts with the first analysis.
    """

    baseline: AnalysisBaseline | None = None


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """The canary cannot be served, or the gate does not let it."""

    message: str
    reason: Reason = Reason.PREPARE_FAILED


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """One analysis run: its assessment and the evidence after it.

    `canary_requests` counts the canary's requests since the last run, whether they were
    judged or not. The other fields replace the ones of the same name in the record.
    """

    assessment: Assessment
    canary_requests: int
    evidence: Evidence | None = None
    snapshot: Snapshot | None = None
    analysed_at: float | None = None
    shadow: ShadowStats | None = None


@dataclass(frozen=True, slots=True)
class TrafficSwitch:
    """Requests are routed as `Promoting` or `Aborting` requires."""


@dataclass(frozen=True, slots=True)
class ReplicaDeaths:
    """Replicas have died since the weight was raised; `message` names them. A canary that ends
    its process takes the evidence against it along."""

    message: str


Event = Command | ReplicaDeaths | LoadSuccess | LoadFailure | AnalysisResult | TrafficSwitch


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of phase or step. `at` is in epoch seconds; `weight_bp` in basis points."""

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
