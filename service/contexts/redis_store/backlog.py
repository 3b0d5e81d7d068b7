"""Vectors that are answered and not stored yet: the histories in memory are their queue."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from service.clock import Clock
from service.contexts.redis_store.held_session import HeldSession
from service.contexts.redis_store.session_calls import SessionCalls
from service.errors import QueueFull
from service.redis.failures import RedisFailureError
from service.session_metrics import SessionStoreMetrics

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
"""Time until a refused write is tried again: memory or a disk may be free by then."""

_AT_ONCE = 64
"""Sessions that are written in one turn of the event loop, which has callers to serve."""


class Backlog:
    """Writes what sessions have in memory and not in the store, one write a session at a time.

    What comes while a write is on its way goes with the next one. At most `max_vectors` wait.
    """

    def __init__(
        self, calls: SessionCalls, clock: Clock, metrics: SessionStoreMetrics, max_vectors: int
    ) -> None:
        self._calls = calls
        self._clock = clock
        self._metrics = metrics
        self._max_vectors = max_vectors
        self._waiting: dict[str, HeldSession] = {}
        self._retry: asyncio.TimerHandle | None = None
        self.vectors = 0

    def check_room(self, count: int) -> None:
        """Raise `QueueFull` if `count` more vectors must not wait."""
        if self.vectors and self.vectors + count > self._max_vectors:
            raise QueueFull(
                f"{self.vectors} vectors wait for the session store; send this one again later",
                _RETRY_SECONDS,
            )

    def count(self, session: HeldSession) -> None:
        """Note how many vectors of the session wait."""
        now = session.backlog
        if now != session.counted:
            self.vectors += now - session.counted
            session.counted = now
            if now:
                self._waiting[session.id] = session
            else:
                self._waiting.pop(session.id, None)

    def write(self, session: HeldSession) -> None:
        """Send what waits of the session, unless a write is on its way."""
        self.count(session)
        if session.sending or not session.backlog:
            return
        session.sending, session.sent = True, session.length
        session.idle.clear()
        arguments = self._calls.backlog(session)
        self._calls.send_append(
            session, arguments, partial(self._on_outcome, session, session.stored)
        )

    def write_all(self) -> None:
        """Send what waits of all sessions, some of them in each turn of the event loop."""
        self._write_some(list(self._waiting.values()))

    def _write_some(self, sessions: list[HeldSession]) -> None:
        for session in sessions[:_AT_ONCE]:
            self.write(session)
        if len(sessions) > _AT_ONCE:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._write_some, sessions[_AT_ONCE:])

    async def drain(self, session: HeldSession) -> None:
        """Wait until nothing of the session is on its way."""
        while session.sending:
            await session.idle.wait()

    async def settle(self, session: HeldSession) -> None:
        """Write what waits of the session, and wait for the outcome."""
        await self.drain(session)
        self.write(session)
        await self.drain(session)

    def give_up(self, session: HeldSession) -> None:
        """Drop what waits of the session: another replica went on with it."""
        lost = session.backlog
        session.current = False
        self.count(session)
        if lost:
            self._metrics.lost.inc(lost)
            logger.warning(
                "%d vectors that were answered are lost: another replica went on with the session",
                lost,
            )

    async def drain_all(self, seconds: float) -> None:
        """Write everything, for at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self._waiting:
                    session = next(iter(self._waiting.values()))
                    self.write(session)
                    await self.drain(session)
                    if session.backlog:
                        await asyncio.sleep(_RETRY_SECONDS / 10)
        except TimeoutError:
            logger.error(  # noqa: TRY400  where it happened says nothing
                "%d vectors of %d sessions were answered and could not be stored",
                self.vectors,
                len(self._waiting),
            )
            self._metrics.lost.inc(self.vectors)
        if self._retry is not None:
            self._retry.cancel()

    def _on_outcome(self, session: HeldSession, start: int, outcome: Any) -> None:
        session.sending = False
        if isinstance(outcome, RedisFailureError):
            self._retry_later()
        else:
            self._note(session, start, outcome)
        self.count(session)
        if session.backlog and not isinstance(outcome, RedisFailureError):
            self.write(session)
        if not session.sending:
            session.idle.set()

    def _note(self, session: HeldSession, start: int, reply: list[Any]) -> None:
        if reply[0] == b"stored":
            session.stored = min(session.sent, session.length)
            session.confirmed = self._clock.monotonic()
            return
        if reply[0] == b"length" and start != int(reply[1]) <= session.length:
            # The fence is this replica's, so nobody else has written: a server that lost its last
            # writes, or a write whose reply was lost.
            session.stored = int(reply[1])
            return
        if reply[0] == b"fenced":
            self._metrics.fenced.inc()
        self.give_up(session)

    def _retry_later(self) -> None:
        if self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(_RETRY_SECONDS, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self.write_all()
