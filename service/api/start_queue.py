"""Spreads the start of requests over the turns of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

PER_TURN = 8
"""Requests that start in one turn; each takes some 0.2 ms of it."""


class StartQueue:
    """Starts a few requests a turn, in order of arrival.

    A burst of hundreds would otherwise start in one turn, and everything else, such as new
    connections and health checks, would wait for its end.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._started = 0
        self._scheduled = False

    def put(self, start: Callable[[], None]) -> None:
        """Call `start` now if this turn allows, else in a later one."""
        if self._waiting or self._started >= PER_TURN:
            self._waiting.append(start)
        else:
            self._started += 1
            start()
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._started = min(PER_TURN, len(self._waiting))
        self._scheduled = self._started > 0
        if self._scheduled:
            # First, so that a start that raises does not keep all others waiting for ever.
            asyncio.get_running_loop().call_soon(self._next_turn)
        for _ in range(self._started):
            self._waiting.popleft()()
