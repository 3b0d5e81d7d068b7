"""One timer of the event loop for all deadlines.

Each timer of uvloop costs 9 µs to begin and to cancel, and nearly every deadline is cancelled. Here
that costs a microsecond: the loop's timer is set for the earliest deadline and not touched when
a later one comes or goes.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

_COMPACT_SIZE = 64
"""Below this number of entries, cancelled ones stay until their time comes."""


class TimerEntry:
    """A call that is due at a time of the event loop's clock."""

    __slots__ = ("_arguments", "_callback", "_timer")

    def __init__(
        self, timer: SharedTimer, callback: Callable[..., object], arguments: tuple[Any, ...]
    ) -> None:
        self._timer = timer
        self._callback: Callable[..., object] | None = callback
        self._arguments = arguments

    def cancel(self) -> None:
        """Do not call. May be repeated, also after the call."""
        if self._callback is not None:
            self._callback, self._arguments = None, ()
            self._timer.count_cancelled()

    @property
    def is_cancelled(self) -> bool:
        """Whether there is nothing to call any more."""
        return self._callback is None

    def run(self) -> None:
        """Call. For `SharedTimer`."""
        callback, arguments = self._callback, self._arguments
        self._callback, self._arguments = None, ()
        if callback is not None:
            callback(*arguments)


class SharedTimer:
    """Calls back at given times. Use it from its event loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._numbers = itertools.count()
        self._entries: list[tuple[float, int, TimerEntry]] = []
        self._cancelled = 0
        self._armed: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def call_at(self, when: float, callback: Callable[..., object], *arguments: Any) -> TimerEntry:
        """Call `callback` at `when`, in seconds of the loop's clock, or as soon as that is past."""
        entry = TimerEntry(self, callback, arguments)
        heapq.heappush(self._entries, (when, next(self._numbers), entry))
        if self._armed is None or when < self._armed_for:
            self._arm()
        return entry

    def call_later(
        self, seconds: float, callback: Callable[..., object], *arguments: Any
    ) -> TimerEntry:
        """Call `callback` after `seconds`."""
        return self.call_at(self._loop.time() + seconds, callback, *arguments)

    def count_cancelled(self) -> None:
        """An entry was cancelled. For `TimerEntry`."""
        self._cancelled += 1
        if self._cancelled > _COMPACT_SIZE and 2 * self._cancelled > len(self._entries):
            self._entries = [each for each in self._entries if not each[2].is_cancelled]
            heapq.heapify(self._entries)
            self._cancelled = 0

    def _arm(self) -> None:
        if self._armed is not None:
            self._armed.cancel()
        self._armed_for = self._entries[0][0]
        self._armed = self._loop.call_at(self._armed_for, self._fire)

    def _fire(self) -> None:
        self._armed = None
        entries = self._entries
        # The loop's timers have a resolution of a millisecond: one may fire half of that early.
        now = self._loop.time() + 0.0005
        while entries and (entries[0][0] <= now or entries[0][2].is_cancelled):
            entry = heapq.heappop(entries)[2]
            if entry.is_cancelled:
                self._cancelled = max(0, self._cancelled - 1)
            else:
                try:
                    entry.run()
                except Exception as error:  # noqa: BLE001  as the loop does for its own
                    self._loop.call_exception_handler(
                        {"message": "a timer's callback failed", "exception": error}
                    )
            entries = self._entries  # it may have been compacted
        if self._entries and self._armed is None:
            self._arm()


class TimerLoop:
    """What uvicorn's protocol uses of an event loop, with the shared timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.create_task = loop.create_task
        self.call_later = shared_timer(loop).call_later
        self.time = loop.time


_timers: WeakKeyDictionary[asyncio.AbstractEventLoop, SharedTimer] = WeakKeyDictionary()


def shared_timer(loop: asyncio.AbstractEventLoop | None = None) -> SharedTimer:
    """Return the timer of `loop`, by default of the running one."""
    if loop is None:
        loop = asyncio.get_running_loop()
    found = _timers.get(loop)
    if found is None:
        found = _timers[loop] = SharedTimer(loop)
    return found
