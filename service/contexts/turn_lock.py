"""The lock of a session: one append at a time, in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress


class TurnLock:
    """As `asyncio.Lock`; but a free one can be taken without a coroutine.

    It is handed to the first that waits, so that nobody who comes later gets in between.
    """

    __slots__ = ("_locked", "_waiting")

    def __init__(self) -> None:
        self._locked = False
        self._waiting: deque[asyncio.Future[None]] | None = None

    def locked(self) -> bool:
        """Whether somebody holds it."""
        return self._locked

    def take(self) -> None:
        """Take it. It must be free."""
        assert not self._locked
        self._locked = True

    async def acquire(self) -> None:
        """Take it when it is this one's turn."""
        if not self._locked:
            self._locked = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it was handed over to one that has gone
            else:
                with suppress(ValueError):
                    self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Hand it to the next one, or set it free."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._locked = False

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_raised: object) -> None:
        self.release()
