"""The rollout's record: where it stands, and what a person may do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.errors import Conflict
from service.rollout.plan.gate import GateMiss
from service.rollout.plan.rollout_plan import PlanStep, RolloutPlan
from service.rollout.routing.traffic_split import TrafficSplit
from service.rollout.state.events import FINAL, LIVE, Phase, Reason, Verb


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Where the rollout is. Times are epoch seconds.

    `since`: in this phase; `step_since`: at this weight. `generation` rises with
    every transition. `previous` is what was stable before the last promotion;
    `reason` and `message` are the last transition's, but that a final state keeps
    what led to it; `warmed` says that the warm-up is over, `passed` that the present step's
    guardrails have passed with enough samples. `missed` are the gate's figures that an
    approver overrode at the start. `attempts` counts the starts of each version as the
    canary of the present stable: they share one alpha.
    """

    stable: str
    phase: Phase = Phase.HEALTHY
    generation: int = 0
    canary: str | None = None
    previous: str | None = None
    plan: RolloutPlan | None = None
    salt: str = ""
    step: int = 0
    since: float = 0.0
    step_since: float = 0.0
    reason: Reason | None = None
    message: str = ""
    undoing: bool = False
    warmed: bool = False
    passed: bool = False
    warm_up_requests: int = 0
    errors: int = 0
    missed: tuple[GateMiss, ...] = ()
    attempts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A record that contradicts itself is refused: better unreadable than half right."""
        if self.phase in FINAL:
            return
        if self.canary is None or (self.plan is None) is not self.undoing:
            raise ValueError(f"{self.phase} needs a canary and, but for an undo, a plan")
        if self.plan is not None and not 0 <= self.step < len(self.plan.steps):
            raise ValueError(f"step {self.step} is not among the plan's {len(self.plan.steps)}")

    @property
    def attempt(self) -> int:
        """How many times this canary has been started, this one included; from 1."""
        return self.attempts.get(self.canary or "", 1)

    @property
    def present(self) -> PlanStep | None:
        """The step that is on, None outside a rollout."""
        if self.plan is None or self.phase in FINAL:
            return None
        return self.plan.steps[self.step]

    @property
    def weight_bp(self) -> int:
        """The canary's share that this state calls for, in basis points."""
        if self.phase not in LIVE | {Phase.PROMOTING} or self.present is None:
            return 0
        return self.present.weight_bp

    def assignment(self) -> TrafficSplit:
        """The split that this state calls for."""
        if self.phase in LIVE | {Phase.PROMOTING} and not self.undoing:
            shadow = self.present is not None and self.present.shadow
            return TrafficSplit(self.stable, self.canary, self.weight_bp, self.salt, shadow)
        return TrafficSplit(self.stable)


def legal_verbs(rollout: RolloutState) -> tuple[Verb, ...]:  # noqa: PLR0911 - one line a phase
    """What a person may ask for now, in alphabetical order."""
    match rollout.phase:
        case Phase.HEALTHY | Phase.ROLLED_BACK:
            again = rollout.phase is Phase.ROLLED_BACK and rollout.canary and rollout.plan
            retry = (Verb.RETRY,) if again else ()
            undo = () if rollout.previous is None else (Verb.UNDO,)
            return (*retry, Verb.START, *undo)
        case Phase.PENDING | Phase.PROMOTING:
            return (Verb.ABORT,)
        case Phase.WARMING_UP:
            return (Verb.ABORT, Verb.PAUSE)
        case Phase.PROGRESSING:
            return (Verb.ABORT, Verb.PAUSE, Verb.PROMOTE)
        case Phase.PAUSED if rollout.reason is Reason.APPROVAL:
            return (Verb.ABORT, Verb.PROMOTE)
        case Phase.PAUSED:
            return (Verb.ABORT, Verb.PROMOTE, Verb.RESUME)
        case Phase.ABORTING:
            return ()


def require_legal(rollout: RolloutState, verb: Verb) -> None:
    """Raises `Conflict` unless `verb` is legal now."""
    legal = legal_verbs(rollout)
    if verb not in legal:
        may = ", ".join(legal) or "nothing, wait a moment"
        raise Conflict(
            f"cannot {verb} while {rollout.phase}; legal now: {may}",
            details={"legal": [str(v) for v in legal], "phase": str(rollout.phase)},
        )
