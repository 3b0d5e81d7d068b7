"""When a step runs on the event loop's own thread, without a hand-over to the engine's."""

from __future__ import annotations

SHORT_SECONDS = 0.001
"""A shorter step may run on the event loop: handing it over takes a tenth of it or more."""

SMOOTHING = 0.1
"""Weight of the newest step in the moving average."""


class InlineSteps:
    """Lets a step run on the event loop if it is short and no other step is pending.

    This saves two wake-ups of sleeping threads and two hand-overs of the interpreter's lock
    (ADR 23). With several callers, the second one comes in the same turn of the loop
    or waits already when the first one is done; then the engine's thread runs them together.

    `enabled` is false for an engine that runs one batch at a time. Guard it with the
    scheduler's lock.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._step_seconds = SHORT_SECONDS
        self._last_was_alone = False
        self._engine_has_steps = False
        self._used_in_this_turn = False

    def begin(self, waiting_steps: int) -> bool:
        """Whether a new step runs on the event loop; if so, it has begun."""
        allowed = (
            self._last_was_alone
            and self._enabled
            and self._step_seconds < SHORT_SECONDS
            and not (self._used_in_this_turn or self._engine_has_steps or waiting_steps)
        )
        if allowed:
            self._used_in_this_turn = self._engine_has_steps = True
        return allowed

    def end(self, seconds: float | None) -> None:
        """The step on the event loop has ended, after `seconds` in the engine; None: failed."""
        self._engine_has_steps = False
        self._observe(seconds)

    def end_turn(self) -> None:
        """The event loop's turn is over."""
        self._used_in_this_turn = False

    def begin_batch(self, steps: int) -> None:
        """The engine's thread runs a batch of `steps`."""
        self._engine_has_steps = steps > 0

    def end_batch(self, steps: int, waiting_steps: int, seconds: float | None) -> None:
        """The batch has ended; `seconds` are those of a single step, else None."""
        self._engine_has_steps = False
        self._last_was_alone = steps == 1 and not waiting_steps
        self._observe(seconds)

    def _observe(self, seconds: float | None) -> None:
        if seconds is not None:
            self._step_seconds += SMOOTHING * (seconds - self._step_seconds)
