"""The moves that every part of the state machine makes: to a phase, to a step, to an end. Pure."""

from __future__ import annotations

from dataclasses import replace

from service.rollout.state.events import CONTROLLER, Phase, Reason, Transition
from service.rollout.state.rollout_state import RolloutState

StateChange = tuple[RolloutState, Transition | None]
"""The state after an event, and the transition if there was one."""


def move(
    rollout: RolloutState,
    target: Phase,
    reason: Reason,
    message: str,
    now: float,
    *,
    actor: str = CONTROLLER,
    note: str = "",
) -> tuple[RolloutState, Transition]:
    """Enter the phase `target`."""
    moved = replace(
        rollout,
        phase=target,
        generation=rollout.generation + 1,
        since=now,
        reason=reason,
        message=message,
        actor=actor,
        note=note,
    )
    return moved, Transition(
        at=now,
        generation=moved.generation,
        actor=actor,
        reason=reason,
        note=note,
        source=rollout.phase,
        target=target,
        step=moved.step,
        weight_bp=moved.weight_bp,
        stable=moved.stable,
        canary=moved.canary,
        message=message,
    )


def next_step(
    rollout: RolloutState,
    reason: Reason,
    message: str,
    now: float,
    actor: str = CONTROLLER,
    note: str = "",
) -> StateChange:
    """Enter the plan's next step, or `Promoting` after the last one."""
    assert rollout.plan is not None
    if rollout.step + 1 == len(rollout.plan.steps):
        return move(rollout, Phase.PROMOTING, reason, message, now, actor=actor, note=note)
    raised = replace(
        rollout,
        step=rollout.step + 1,
        step_since=now,
        passed=False,
        proven=rollout.passed and not rollout.plan.steps[rollout.step].shadow,
        warmed=True,
        errors=0,
    )
    return move(raised, Phase.PROGRESSING, reason, message, now, actor=actor, note=note)


def finish(
    rollout: RolloutState,
    target: Phase,
    message: str,
    now: float,
    *,
    stable: str,
    canary: str | None,
    previous: str | None,
) -> StateChange:
    """Enter a final phase, which keeps the reason that led to it."""
    moved, transition = move(rollout, target, Reason.APPLIED, message, now)
    final = replace(
        moved,
        reason=rollout.reason,
        actor=rollout.actor,
        note=rollout.note,
        stable=stable,
        canary=canary,
        previous=previous,
        undoing=False,
        attempts=rollout.attempts if stable == rollout.stable else {},
    )
    return final, replace(transition, stable=stable, canary=canary)
