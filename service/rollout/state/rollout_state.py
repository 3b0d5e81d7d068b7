"""The rollout's state, and what a person may request in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.errors import Conflict
from service.rollout.plan.gate import GateMiss
from service.rollout.plan.rollout_plan import PlanStep, RolloutPlan
from service.rollout.routing.traffic_split import TrafficSplit
from service.rollout.state.events import FINAL, LIVE, Phase, Reason, Verb


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Where the rollout is. Times are in epoch seconds.

    `since`: start of the current phase. `step_since`: start of the current weight.
    `generation` rises with every transition. `previous`: the stable version before the
    last promotion. `reason` and `message` belong to the last transition; a final phase keeps
    the reason that led to it, and so do `actor` and `note`: who made it, and the reason that
    person gave. `warmed`: the warm-up is over. `passed`: the guardrails of the
    current step have passed with enough samples. `proven`: so they did in the step before, with
    real requests. `missed`: the gate criteria that an approver
    overrode at the start. `attempts`: how often each version was started as the canary of
    the current stable version; these attempts share one alpha.
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
    actor: str = ""
    note: str = ""
    undoing: bool = False
    warmed: bool = False
    passed: bool = False
    proven: bool = False
    warm_up_requests: int = 0
    errors: int = 0
    missed: tuple[GateMiss, ...] = ()
    attempts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject a state that contradicts itself; a stored one then counts as unreadable."""
        if self.phase in FINAL:
            return
        if self.canary is None or (self.plan is None) is not self.undoing:
            raise ValueError(f"{self.phase} needs a canary and, except for an undo, a plan")
        if self.plan is not None and not 0 <= self.step < len(self.plan.steps):
            raise ValueError(f"step {self.step} is outside the plan's {len(self.plan.steps)} steps")

    @property
    def attempt(self) -> int:
        """How many times this canary has been started, this time included; from 1."""
        return self.attempts.get(self.canary or "", 1)

    @property
    def current_step(self) -> PlanStep | None:
        """The plan's current step; None when no rollout is in progress."""
        if self.plan is None or self.phase in FINAL:
            return None
        return self.plan.steps[self.step]

    @property
    def weight_bp(self) -> int:
        """The canary's share of requests in this state, in basis points."""
        if self.phase not in LIVE | {Phase.PROMOTING} or self.current_step is None:
            return 0
        return self.current_step.weight_bp

    def split(self) -> TrafficSplit:
        """How requests are split in this state."""
        if self.phase in LIVE | {Phase.PROMOTING} and not self.undoing:
            shadow = self.current_step is not None and self.current_step.shadow
            return TrafficSplit(self.stable, self.canary, self.weight_bp, self.salt, shadow)
        return TrafficSplit(self.stable)


def legal_verbs(rollout: RolloutState) -> tuple[Verb, ...]:  # noqa: PLR0911 - one line a phase
    """What a person may request now, in alphabetical order."""
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
    """Raise `Conflict`, which lists the legal verbs, unless `verb` is one of them."""
    legal = legal_verbs(rollout)
    if verb not in legal:
        allowed = f"legal now: {', '.join(legal)}" if legal else "try again in a moment"
        raise Conflict(
            f"cannot {verb} while {rollout.phase}; {allowed}",
            details={"legal": [str(v) for v in legal], "phase": str(rollout.phase)},
        )
