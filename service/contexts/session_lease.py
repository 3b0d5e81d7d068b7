"""The lock of one append on its session: `SessionStore.use` of every store returns one."""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

from service.contexts.session import Session
from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import SessionStart
from service.observability import tracing

SessionT = TypeVar("SessionT", bound=Session)


class LeaseRequest(NamedTuple):
    """The session that an append is for; see `SessionStore.use`."""

    session_id: str
    position: int | None
    begin: SessionStart
    owner: SessionQuota | None


class LeasingStore(Protocol[SessionT]):
    """What a lease needs of its store. Raises as `SessionStore.use` does."""

    def acquire(self, request: LeaseRequest) -> SessionT:
        """The session, or a new and empty one; count one more user of it."""
        ...

    async def enter(self, session: SessionT, request: LeaseRequest) -> None:
        """Make sure, under the lock, that the append may use the session."""
        ...

    def release(self, session: SessionT) -> None:
        """Count one user less."""
        ...


class SessionLease(Generic[SessionT]):
    """Waits for the session's lock, in order of arrival; use it with `async with`.

    A class, because a generator-based context manager costs several times as much.
    """

    def __init__(self, store: LeasingStore[SessionT], request: LeaseRequest) -> None:
        self._store = store
        self._request = request
        self._session: SessionT | None = None

    async def __aenter__(self) -> SessionT:
        span = tracing.current()
        began = tracing.now_ns() if span is not None else 0
        session = self._store.acquire(self._request)
        try:
            await session.lock.acquire()
            try:
                await self._store.enter(session, self._request)
            except BaseException:
                session.lock.release()
                raise
        except BaseException:
            self._store.release(session)
            raise
        if span is not None:
            span.add("session store", began, tracing.now_ns())
        self._session = session
        return session

    async def __aexit__(self, *_raised: object) -> None:
        assert self._session is not None
        self._session.lock.release()
        self._store.release(self._session)
