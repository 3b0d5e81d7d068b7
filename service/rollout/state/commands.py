"""What a person's command does to the rollout. Pure."""

from __future__ import annotations

from dataclasses import replace

from service.errors import Conflict
from service.rollout.plan.gate import describe_misses
from service.rollout.state.events import (
    AbortCommand,
    Command,
    PauseCommand,
    Phase,
    PromoteCommand,
    Reason,
    ResumeCommand,
    StartCommand,
    UndoCommand,
)
from service.rollout.state.moves import StateChange, move, next_step
from service.rollout.state.rollout_state import RolloutState, legal_verbs, require_legal


def execute(rollout: RolloutState, command: Command, now: float) -> StateChange:
    """The state after `command`. Raises `Conflict` unless it is legal now."""
    require_legal(rollout, command.verb)
    by = {"actor": command.actor, "note": command.note}
    match command:
        case StartCommand():
            return _start(rollout, command, now)
        case UndoCommand():
            return _undo(rollout, command, now)
        case PromoteCommand():
            return _promote(rollout, command, now)
        case PauseCommand():
            return move(rollout, Phase.PAUSED, Reason.BY_HAND, "paused by hand", now, **by)
        case ResumeCommand():
            target = Phase.PROGRESSING if rollout.warmed else Phase.WARMING_UP
            resumed = replace(rollout, errors=0)
            return move(resumed, target, Reason.RESUMED, "resumed by hand", now, **by)
        case AbortCommand():
            return move(rollout, Phase.ABORTING, Reason.ABORTED, "aborted by hand", now, **by)


def _start(rollout: RolloutState, command: StartCommand, now: float) -> StateChange:
    fresh = RolloutState(
        stable=rollout.stable,
        phase=rollout.phase,
        generation=rollout.generation,
        canary=command.canary,
        previous=rollout.previous,
        plan=command.plan,
        salt=command.salt,
        missed=command.missed,
        attempts=_attempts(rollout, command),
    )
    message = f"loading {command.canary}"
    if fresh.attempt > 1:
        message += f", attempt {fresh.attempt}"
    if command.missed:
        message += f", gate overridden: {describe_misses(command.missed)}"
    reason = Reason.RETRY if command.retry else Reason.START
    return move(fresh, Phase.PENDING, reason, message, now, actor=command.actor, note=command.note)


def _attempts(rollout: RolloutState, command: StartCommand) -> dict[str, int]:
    """The attempts by canary, this one included.

    An attempt that was rolled back before the canary had traffic is not counted, because it
    spent none of alpha.
    """
    before = rollout.attempts.get(command.canary, 0)
    untried = rollout.canary == command.canary and not rollout.step_since
    return {**rollout.attempts, command.canary: before if before and untried else before + 1}


def _undo(rollout: RolloutState, command: UndoCommand, now: float) -> StateChange:
    fresh = RolloutState(
        stable=rollout.stable,
        phase=rollout.phase,
        generation=rollout.generation,
        canary=rollout.previous,
        previous=rollout.previous,
        undoing=True,
        attempts=rollout.attempts,
    )
    message = f"loading {rollout.previous}, the stable version before {rollout.stable}"
    return move(
        fresh, Phase.PENDING, Reason.UNDO, message, now, actor=command.actor, note=command.note
    )


def _promote(rollout: RolloutState, command: PromoteCommand, now: float) -> StateChange:
    """A person may end the dwell early; before the guardrails pass, only by force."""
    if not rollout.passed and not command.force:
        raise Conflict(
            "the guardrails of this step have not passed; wait, or force the promotion "
            "(approver role)",
            "guardrails_not_passed",
            {"legal": [str(v) for v in legal_verbs(rollout)], "phase": str(rollout.phase)},
        )
    reason = Reason.PROMOTED if rollout.passed else Reason.FORCED
    message = "promoted by hand"
    if not rollout.passed:
        message = "promoted by force before the guardrails passed"
    return next_step(rollout, reason, message, now, actor=command.actor, note=command.note)
