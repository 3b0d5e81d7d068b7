"""One append on its way to the store, beside the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from service.clock import Clock
from service.contexts.redis_store.backlog import Backlog
from service.contexts.redis_store.held_session import HeldSession
from service.contexts.redis_store.session_calls import SessionCalls
from service.contexts.redis_store.store_errors import caller_error
from service.contexts.session import AppendPlan, fingerprint
from service.errors import Gone, QueueFull
from service.redis.failures import RedisFailureError, RedisRefusalError
from service.rollout.routing.traffic_split import Route
from service.session_metrics import SessionStoreMetrics

EARLY_VECTORS = 64
"""Vectors of the largest append that is sent before the engine has run it: with more, the engine
takes so long that the store's time does not matter."""

_MAX_TRIES = 4
"""Attempts to store one append after the store has named another length."""


class SharedAppend:
    """An append to a shared store; see `AppendWrite` in `service.contexts.session_store`.

    It is sent at once, so that the store works while the engine does. There are exceptions: the
    first append of a session drops what the id had before, and a long one drops much of the
    history, which cannot be undone, so the engine has to succeed first. The last append of a
    sequence (`end`) deletes the session instead.
    """

    def __init__(  # noqa: PLR0913 - what one append needs of its store
        self,
        calls: SessionCalls,
        backlog: Backlog,
        metrics: SessionStoreMetrics,
        clock: Clock,
        claim_again: Callable[[HeldSession], Awaitable[None]],
        session: HeldSession,
        plan: AppendPlan,
        route: Route,
        *,
        end: bool,
        serve_without_store: bool,
    ) -> None:
        self._calls = calls
        self._backlog = backlog
        self._metrics = metrics
        self._clock = clock
        self._claim_again = claim_again
        self._session = session
        self._plan = plan
        self._route = route
        self._end = end
        self._serve_without_store = serve_without_store
        self._reply: asyncio.Future[Any] | None = None
        self._may_be_stored = False
        self._undoable = (
            not end
            and plan.position > 0
            and len(plan.vectors) <= min(EARLY_VECTORS, calls.form.history_vectors)
        )
        if self._undoable and not session.sending:
            self._reply = self._send()

    async def stored(self) -> bool:
        session = self._session
        for _ in range(_MAX_TRIES):
            if self._reply is None:
                await self._backlog.drain(session)
                if not session.current:  # what drained was fenced
                    break
                self._reply = self._send()
            try:
                reply = await self._reply
            except RedisFailureError as failure:
                self._settle()
                return self._go_on_without(failure)
            self._settle()
            self._reply, status = None, reply[0]
            if status == b"stored":
                session.stored = self._plan.position + len(self._plan.vectors)
                session.confirmed = self._clock.monotonic()
                return True
            self._may_be_stored = False
            if status == b"gone":
                session.current = False
                raise Gone(f"session {session.id!r} has expired; send its context again")
            if status == b"length" and session.stored != int(reply[1]) <= session.length:
                session.stored = int(reply[1])  # the store lost its last writes: send them again
                continue
            if status == b"fenced":
                self._metrics.fenced.inc()
            break
        session.current = False
        await self._claim_again(session)
        return False

    def undo(self) -> None:
        if self._reply is not None:
            if not self._reply.cancel() and not self._reply.cancelled():
                self._reply.exception()  # otherwise asyncio reports that nobody looked
            self._settle()
        count = len(self._plan.vectors)
        if self._may_be_stored and self._undoable:
            self._calls.undo(self._session, self._plan.position + count, count)
        self._may_be_stored = False
        self._session.identified = None

    def _send(self) -> asyncio.Future[Any]:
        session, plan = self._session, self._plan
        # Until the reply is here, the backlog must not be written beside it.
        session.sending, session.sent = True, session.length
        session.idle.clear()
        if self._end:
            return self._calls.finish(session, plan.position)
        self._may_be_stored = True
        digest = fingerprint(plan.vectors)
        session.identified = (plan, digest)
        arguments = self._calls.append(
            session,
            plan.vectors,
            (plan.position, digest),
            self._route.version,
            self._route.variant,
        )
        return self._calls.client.call("append", session.keys, *arguments)

    def _settle(self) -> None:
        self._session.sending = False
        self._session.idle.set()

    def _go_on_without(self, failure: RedisFailureError) -> bool:
        """True if the append waits in memory. Raises `StoreUnavailable` or `QueueFull`."""
        if isinstance(failure, RedisRefusalError):
            self._may_be_stored = False
        error = caller_error(failure)
        if isinstance(error, QueueFull) or not self._serve_without_store:
            raise error from failure
        if self._plan.position == 0:
            self._session.stored = 0
        return True


class AppendAhead:
    """An append that is answered before it is stored; see `AppendWrite`.

    While the engine ran, an earlier write of the session may have been refused: the session was
    deleted, or another replica goes on with it. Its copy is then of no use.
    """

    __slots__ = ("_claim_again", "_session")

    def __init__(
        self, session: HeldSession, claim_again: Callable[[HeldSession], Awaitable[None]]
    ) -> None:
        self._session = session
        self._claim_again = claim_again

    async def stored(self) -> bool:
        if self._session.current:
            return True
        await self._claim_again(self._session)
        return False

    def undo(self) -> None:
        """Nothing to do: nothing was sent."""
