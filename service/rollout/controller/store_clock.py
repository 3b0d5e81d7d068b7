"""The clock of the fleet: that of the store, so that it does not matter how a replica's is set."""

from __future__ import annotations

from service.clock import Clock

TRUSTED_ROUND_TRIP = 0.5
"""Seconds. The clock of an answer that took longer is too uncertain."""


class StoreClock:
    """A `Clock` whose time is that of the store. Until the first answer it is the machine's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: float | None = None

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def time(self) -> float:
        if self._offset is None:
            return self._clock.time()
        return self._clock.monotonic() + self._offset

    def observe(self, stored: float, asked: float, answered: float) -> None:
        """The store's clock was `stored` at some time between two readings of `monotonic`."""
        if self._offset is None or answered - asked <= TRUSTED_ROUND_TRIP:
            self._offset = stored - (asked + answered) / 2
