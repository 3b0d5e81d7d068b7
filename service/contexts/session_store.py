"""Sessions by id, within a budget of memory and of idle time."""

from __future__ import annotations

from enum import Enum

from service.bounded_store import BoundedStore
from service.clock import Clock
from service.contexts.history import History
from service.contexts.session import Session
from service.errors import Gone, NotFound, QueueFull
from service.observability import tracing

TOMBSTONES = 100_000
"""Ids remembered after eviction, to answer 410 and not 404."""

MAX_USERS = 32
"""Appends to one session at once; the next one is refused. They run one after the other,
so more of them would only hold memory."""


class SessionStart(Enum):
    """Whether an append may begin a session."""

    IF_UNKNOWN = "begin an unknown session; an evicted one only at position 0"
    RESTART = "begin a session whether or not it exists; drop what it held"
    NEVER = "the session must exist"


class SessionStore:
    """Sessions in order of use. Over the budget the least recently used are evicted.

    A session in use is never evicted. `ttl_seconds` is the longest time without an append;
    `history_vectors` of width `dim` are kept of each session, in 8 bits if `compact`.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_bytes: int,
        ttl_seconds: float,
        history_vectors: int,
        dim: int,
        compact: bool = False,
    ) -> None:
        self._clock = clock
        self._history_vectors = history_vectors
        self._dim = dim
        self._compact = compact
        self._sessions: BoundedStore[str, Session] = BoundedStore(
            max_size=max_bytes, max_age=ttl_seconds, is_pinned=lambda session: session.users > 0
        )
        self._tombstones: BoundedStore[str, None] = BoundedStore(max_size=TOMBSTONES)
        # New sessions whose first append has not succeeded yet: concurrent first appends
        # must share one session.
        self._new: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def nbytes(self) -> int:
        """Memory of all sessions."""
        return self._sessions.size

    def get(self, session_id: str) -> Session:
        """The session. Raises `NotFound`, or `Gone` if it was evicted or has expired."""
        self._add_tombstones(self._sessions.expire(self._clock.monotonic()))
        session = self._sessions.get(session_id)
        if session is not None:
            return session
        if session_id in self._tombstones:
            raise Gone(
                f"session {session_id!r} has expired or was evicted; "
                "send its whole context again with position 0"
            )
        raise _unknown(session_id)

    def use(
        self, session_id: str, position: int | None, begin: SessionStart = SessionStart.IF_UNKNOWN
    ) -> SessionLease:
        """Lock the session for one append, in order of arrival; use it with `async with`.

        An unknown id begins a new session, unless `position` is more than 0. An evicted one
        begins again only at `position` 0. Raises as `get` does, and `QueueFull`. A new
        session is stored by the first `keep`.
        """
        return SessionLease(self, session_id, position, begin)

    def keep(self, session: Session) -> None:
        """Store the session as it is now, and evict others to make room for it."""
        self._tombstones.pop(session.id)
        self._new.pop(session.id, None)
        self._sessions.put(session.id, session, size=session.nbytes, now=self._clock.monotonic())
        self._add_tombstones(self._sessions.shrink())

    def forget(self, session: Session) -> None:
        """End the session. Appends that wait for its lock find it empty."""
        if self._sessions.get(session.id) is session:
            self._sessions.pop(session.id)
        session.clear()
        self._new[session.id] = session

    async def delete(self, session_id: str) -> None:
        """Delete the session after the appends that came before. Raises as `get` does."""
        self.get(session_id)
        async with self.use(session_id, None) as session:
            if session.length:
                self._sessions.pop(session_id)

    def acquire(self, session_id: str, position: int | None, begin: SessionStart) -> Session:
        """Count one more user of the session. For `SessionLease`."""
        session = self._find(session_id, position, begin)
        if session.users >= MAX_USERS:
            raise QueueFull(
                f"{session.users} appends to session {session_id!r} are already waiting", 1.0
            )
        session.users += 1
        return session

    def check(self, session: Session, begin: SessionStart) -> None:
        """Raise `NotFound` if the session ended while the append waited. For `SessionLease`."""
        if session.length and self._sessions.get(session.id) is not session:
            raise NotFound(
                f"session {session.id!r} was deleted in the meantime", code="session_not_found"
            )
        if begin is SessionStart.NEVER and not session.length:
            # The append that should have begun it failed, or another one has ended it.
            raise _unknown(session.id)

    def release(self, session: Session) -> None:
        """Count one user less. For `SessionLease`."""
        session.users -= 1
        if session.users == 0 and self._new.get(session.id) is session:
            del self._new[session.id]

    def _find(self, session_id: str, position: int | None, begin: SessionStart) -> Session:
        if session_id in self._new:
            return self._new[session_id]
        try:
            return self.get(session_id)
        except Gone:
            if position != 0 and begin is not SessionStart.RESTART:
                raise
        except NotFound:
            if position or begin is SessionStart.NEVER:
                raise
        history = History(self._history_vectors, self._dim, compact=self._compact)
        session = Session(session_id, history)
        self._new[session_id] = session
        return session

    def _add_tombstones(self, evicted: list[tuple[str, Session]]) -> None:
        for session_id, _ in evicted:
            self._tombstones.put(session_id, None)
            self._tombstones.shrink()


def _unknown(session_id: str) -> NotFound:
    return NotFound(f"there is no session {session_id!r}", code="session_not_found")


class SessionLease:
    """The lock of one append; see `SessionStore.use`.

    A class, because a generator-based context manager costs several times as much.
    """

    def __init__(
        self, store: SessionStore, session_id: str, position: int | None, begin: SessionStart
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._position = position
        self._begin = begin
        self._session: Session | None = None

    async def __aenter__(self) -> Session:
        span = tracing.current()
        began = tracing.now_ns() if span is not None else 0
        session = self._store.acquire(self._session_id, self._position, self._begin)
        try:
            await session.lock.acquire()
            if span is not None:
                span.add("session store", began, tracing.now_ns())
            try:
                self._store.check(session, self._begin)
            except BaseException:
                session.lock.release()
                raise
        except BaseException:
            self._store.release(session)
            raise
        self._session = session
        return session

    async def __aexit__(self, *_raised: object) -> None:
        assert self._session is not None
        self._session.lock.release()
        self._store.release(self._session)
