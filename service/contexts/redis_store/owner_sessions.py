"""How many sessions an owner has in the whole fleet."""

from __future__ import annotations

import asyncio

from service.clock import Clock
from service.contexts.redis_store.held_session import HeldSession
from service.contexts.redis_store.session_calls import SessionCalls
from service.contexts.redis_store.store_errors import caller_error
from service.contexts.session_quota import SessionQuota
from service.redis.failures import RedisFailureError


class OwnerSessions:
    """Counts the sessions of owners that have a bound, on the server.

    The bytes of an owner are bounded in each replica's memory: those on the server follow from
    the number of its sessions.
    """

    def __init__(self, calls: SessionCalls, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock
        self._renewal_seconds = calls.form.ttl_seconds / 4

    async def admit(self, session: HeldSession, owner: SessionQuota) -> None:
        """Count a new session. Raises `CallerLimited`, `StoreUnavailable` or `QueueFull`."""
        owner.check_bytes()
        if owner.max_sessions is None:
            return
        try:
            admitted, *held = await self._calls.admit(session, owner)
        except RedisFailureError as error:
            raise caller_error(error) from error
        if not admitted:
            raise owner.refusal(int(held[0]))
        session.admitted = self._clock.monotonic()

    def renew(self, session: HeldSession) -> None:
        """Keep counting a session that is in use."""
        owner = session.owner
        if owner is None or owner.max_sessions is None:
            return
        now = self._clock.monotonic()
        if session.admitted is None or now - session.admitted >= self._renewal_seconds:
            session.admitted = now
            # A failure is met by the next renewal.
            self._calls.admit(session, owner, bounded=False).add_done_callback(_ignore_failure)

    def dismiss(self, session_id: str, owner: SessionQuota | None) -> None:
        """Count a session no more that has ended."""
        if owner is not None and owner.max_sessions is not None:
            self._calls.dismiss(session_id, owner)


def _ignore_failure(future: asyncio.Future[object]) -> None:
    if not future.cancelled():
        future.exception()  # otherwise asyncio reports it
