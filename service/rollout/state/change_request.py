"""How a person asks for a move, and what would come of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from service.errors import Invalid
from service.rollout.state.events import Event, Phase, TrafficSwitch, Transition
from service.rollout.state.rollout_state import RolloutState
from service.rollout.state.transitions import advance


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """One request under an idempotency key. `fingerprint` tells requests apart; a key
    belongs to the `actor` who made it up."""

    actor: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class IdempotentResponse:
    """What a call was answered, kept to be said again."""

    call: ChangeRequest
    answer: dict[str, object]

    def again(self, call: ChangeRequest) -> dict[str, object]:
        """The answer to the same call. Raises `Invalid` for another one under its key."""
        if call.fingerprint != self.call.fingerprint:
            raise Invalid(
                f"Idempotency-Key {call.key!r} was used for another request; make up a new one",
                "idempotency_key_reused",
            )
        return self.answer


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """A verb asked for as a trial run, which changes nothing; or as a `call`, by which a
    repeat is recognised."""

    dry_run: bool = False
    call: ChangeRequest | None = None


DEFAULT_OPTIONS = ChangeOptions()


def preview(
    rollout: RolloutState, event: Event, now: float
) -> tuple[RolloutState, list[Transition]]:
    """Where a person's `event` leads, with what follows from it at once.

    Raises as `advance`.
    """
    moved, transition = advance(rollout, event, now)
    moves = [transition]
    if moved.phase in {Phase.ABORTING, Phase.PROMOTING}:
        moved, transition = advance(moved, TrafficSwitch(), now)
        moves.append(transition)
    return moved, [move for move in moves if move is not None]
