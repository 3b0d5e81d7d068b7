"""The rollout's state machine. No clock, no I/O.

These rules hold in every state:
- An abort beats everything.
- The guardrails are evaluated during a pause.
- A pause has a deadline, at which the rollout is aborted.
- Missing or unreadable data neither passes nor fails a step.
- A rollout that was stopped never counts as a success.
- Only a pass or a person's recorded command raises the weight.
"""

from __future__ import annotations

from dataclasses import replace

from service.rollout.state.commands import execute
from service.rollout.state.evaluation import evaluate
from service.rollout.state.events import (
    LIVE,
    AnalysisResult,
    Event,
    LoadFailure,
    LoadSuccess,
    Phase,
    Reason,
    ReplicaDeaths,
    TrafficSwitch,
)
from service.rollout.state.moves import StateChange, finish, move
from service.rollout.state.rollout_state import RolloutState


def advance(  # noqa: PLR0911 - one line an event
    rollout: RolloutState, event: Event, now: float
) -> StateChange:
    """The state after `event`, and the transition if there was one.

    Raises `Conflict`, which lists the legal verbs, for a command that is not legal now.
    The service's own events are ignored when they come too late.
    """
    # A clock that was set back restarts a wait instead of prolonging it.
    rollout = replace(
        rollout, since=min(rollout.since, now), step_since=min(rollout.step_since, now)
    )
    match event:
        case AnalysisResult():
            return evaluate(rollout, event, now)
        case LoadSuccess() if rollout.phase is Phase.PENDING:
            return _take_canary(rollout, now)
        case LoadFailure() if rollout.phase in LIVE | {Phase.PENDING, Phase.PROMOTING}:
            return move(rollout, Phase.ABORTING, event.reason, event.message, now)
        case TrafficSwitch():
            return _end(rollout, now)
        case ReplicaDeaths() if rollout.phase in {Phase.WARMING_UP, Phase.PROGRESSING}:
            return move(rollout, Phase.PAUSED, Reason.REPLICAS_DIED, event.message, now)
        case LoadSuccess() | LoadFailure() | ReplicaDeaths():
            return rollout, None
        case _:
            return execute(rollout, event, now)


def _take_canary(rollout: RolloutState, now: float) -> StateChange:
    """The canary is loaded: warm it up, or make it stable at once in an undo."""
    if rollout.undoing:
        message = f"{rollout.canary} is loaded and becomes stable"
        moved, transition = move(rollout, Phase.PROMOTING, Reason.PREPARED, message, now)
        return replace(moved, reason=Reason.UNDO), transition
    shadow = rollout.current_step is not None and rollout.current_step.shadow
    requests = "copies of requests" if shadow else "real requests"
    message = f"{rollout.canary} is loaded and warms up on {requests}"
    warming = replace(rollout, step_since=now)
    return move(warming, Phase.WARMING_UP, Reason.PREPARED, message, now)


def _end(rollout: RolloutState, now: float) -> StateChange:
    """The traffic has followed a promotion or an abort."""
    if rollout.phase is Phase.PROMOTING:
        assert rollout.canary is not None
        return finish(
            rollout,
            Phase.HEALTHY,
            f"{rollout.canary} is stable; undo brings {rollout.stable} back",
            now,
            stable=rollout.canary,
            canary=None,
            previous=rollout.stable,
        )
    if rollout.phase is Phase.ABORTING:
        return finish(
            rollout,
            Phase.ROLLED_BACK,
            f"{rollout.stable} has all traffic: {rollout.message}",
            now,
            stable=rollout.stable,
            canary=rollout.canary,
            previous=rollout.previous,
        )
    return rollout, None
