"""The time a request may take, waiting included."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import NamedTuple

from service.errors import DeadlineExceeded
from service.timers import TimerEntry, shared_timer


class TimeLimit(NamedTuple):
    """How long a request may take, in seconds.

    `is_callers`: the caller asked for less than the service allows. `left` is what is left of
    it, because the request has waited.
    """

    seconds: float
    is_callers: bool
    left: float

    @classmethod
    def of(cls, timeout: float, caller_timeout: float | None, waited: float) -> TimeLimit:
        """The limit of a request that arrived `waited` seconds ago."""
        seconds = min(timeout, caller_timeout or timeout)
        return cls(seconds, seconds < timeout, max(0.0, seconds - waited))

    def error(self) -> DeadlineExceeded:
        """The error of a request that has taken too long."""
        kind = CallerDeadlineExceeded if self.is_callers else DeadlineExceeded
        return kind(f"not answered within {self.seconds:g} s")


class CallerDeadlineExceeded(DeadlineExceeded):
    """The caller's own deadline passed, before the service's. The version is not at fault."""


class Deadline:
    """Raises `DeadlineExceeded` if the block takes longer than the service's `timeout`.

    A caller's own, shorter timeout raises `CallerDeadlineExceeded`. Both are in seconds, and
    count from the arrival of the request, which was `waited` seconds ago. It cancels the task
    as `asyncio.timeout` does, at a tenth of the cost.
    """

    def __init__(self, timeout: float, caller_timeout: float | None, waited: float = 0.0) -> None:
        self._limit = TimeLimit.of(timeout, caller_timeout, waited)
        self._loop = asyncio.get_running_loop()
        self._when = 0.0
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._entry: TimerEntry | None = None
        self._has_passed = False

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, within the block."""
        return self._when - self._loop.time()

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._when = self._loop.time() + self._limit.left
        self._entry = shared_timer(self._loop).call_at(self._when, self._pass)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        assert self._entry is not None
        self._entry.cancel()
        # Another one may have cancelled the task as well: that is for the caller to see.
        if (
            self._has_passed
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise self._limit.error() from error

    def _pass(self) -> None:
        assert self._task is not None
        self._has_passed = True
        self._task.cancel()
