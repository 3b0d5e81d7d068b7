"""Sessions in this process, within a budget of memory and of idle time."""

from __future__ import annotations

from service.bounded_store import BoundedStore
from service.clock import Clock
from service.contexts.history import History
from service.contexts.session import AppendPlan, Session
from service.contexts.session_lease import LeaseRequest, SessionLease
from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import (
    MAX_USERS,
    SessionStart,
    SessionSummary,
    unknown_session,
)
from service.errors import Gone, NotFound, QueueFull
from service.rollout.routing.traffic_split import Route

TOMBSTONES = 100_000
"""Ids remembered after eviction, to answer 410 and not 404."""


class MemorySessionStore:
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
        self._tombstones: BoundedStore[str, SessionQuota | None] = BoundedStore(max_size=TOMBSTONES)
        # New sessions whose first append has not succeeded yet: concurrent first appends
        # must share one session.
        self._new: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def nbytes(self) -> int:
        """Memory of all sessions."""
        return self._sessions.size

    def get(self, session_id: str, owner: SessionQuota | None = None) -> Session:
        """The session. Raises `NotFound`, also for a session of another owner, or `Gone` if it
        was evicted or has expired."""
        self._add_tombstones(self._sessions.expire(self._clock.monotonic()))
        session = self._sessions.get(session_id)
        if session is not None:
            _check_owner(session, owner)
            return session
        if session_id in self._tombstones and self._tombstones.get(session_id) is owner:
            raise Gone(
                f"session {session_id!r} has expired or was evicted; "
                "send its whole context again with position 0"
            )
        raise unknown_session(session_id)

    def use(
        self,
        session_id: str,
        position: int | None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        owner: SessionQuota | None = None,
    ) -> SessionLease[Session]:
        """Lock the session for one append, in order of arrival; use it with `async with`.

        An unknown id begins a new session, unless `position` is more than 0. An evicted one
        begins again only at `position` 0. Raises as `get` does, `QueueFull`, and
        `CallerLimited` if the owner may begin no other session. A new session is stored by
        the first `keep`.
        """
        return SessionLease(self, LeaseRequest(session_id, position, begin, owner))

    def try_use(
        self,
        session_id: str,
        position: int | None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        owner: SessionQuota | None = None,
    ) -> Session | None:
        """As `use`, at once; None while other appends use the session. Call `leave` in the end."""
        session = self.acquire(LeaseRequest(session_id, position, begin, owner))
        if session.users > 1:
            self.release(session)
            return None
        session.lock.take()
        try:
            self._check(session, begin)
        except NotFound:
            self.leave(session)
            raise
        return session

    def leave(self, session: Session) -> None:
        """End the use of a session."""
        session.lock.release()
        self.release(session)

    async def close(self) -> None:
        """Nothing to do: what is in memory ends with the process."""

    async def refresh(self, session: Session) -> bool:
        """False: what is in memory is all there is."""
        del session
        return False

    def begin_append(
        self, session: Session, plan: AppendPlan, route: Route, *, positioned: bool, end: bool
    ) -> None:
        """Nothing to do: `keep` stores the append."""

    def keep(self, session: Session) -> None:
        """Store the session as it is now, and evict others to make room for it."""
        self._tombstones.pop(session.id)
        self._new.pop(session.id, None)
        size = session.nbytes
        self._sessions.put(session.id, session, size=size, now=self._clock.monotonic())
        if session.owner is not None:
            _charge(session, size)
        self._add_tombstones(self._sessions.shrink())

    def forget(self, session: Session) -> None:
        """End the session. Appends that wait for its lock find it empty."""
        if self._sessions.get(session.id) is session:
            self._sessions.pop(session.id)
        if session.owner is not None:
            _charge(session, 0)
        session.clear()
        self._new[session.id] = session

    async def read(self, session_id: str, owner: SessionQuota | None = None) -> SessionSummary:
        """The session, to be shown. Raises as `get` does."""
        found = self.get(session_id, owner)
        return SessionSummary(found.id, found.length, found.variant, found.version, found.nbytes)

    async def delete(self, session_id: str, owner: SessionQuota | None = None) -> None:
        """Delete the session after the appends that came before. Raises as `get` does."""
        self.get(session_id, owner)
        async with self.use(session_id, None, owner=owner) as session:
            if session.length:
                self._sessions.pop(session_id)
                _release_quota(session)

    def acquire(self, request: LeaseRequest) -> Session:
        """See `LeasingStore.acquire`."""
        session = self._find(request)
        if session.users >= MAX_USERS:
            raise QueueFull(
                f"{session.users} appends to session {session.id!r} are already waiting", 1.0
            )
        session.users += 1
        return session

    async def enter(self, session: Session, request: LeaseRequest) -> None:
        """See `LeasingStore.enter`."""
        self._check(session, request.begin)

    def release(self, session: Session) -> None:
        """See `LeasingStore.release`."""
        session.users -= 1
        if session.users == 0 and self._new.get(session.id) is session:
            del self._new[session.id]
            _release_quota(session)

    def _check(self, session: Session, begin: SessionStart) -> None:
        """Raise `NotFound` if the session ended while the append waited."""
        if session.length and self._sessions.get(session.id) is not session:
            raise NotFound(
                f"session {session.id!r} was deleted in the meantime", code="session_not_found"
            )
        if begin is SessionStart.NEVER and not session.length:
            # The append that should have begun it failed, or another one has ended it.
            raise unknown_session(session.id)

    def _find(self, request: LeaseRequest) -> Session:
        session_id, position, begin, owner = request
        taken = self._new.get(session_id)
        if taken is not None:
            _check_owner(taken, owner)
            return taken
        try:
            return self.get(session_id, owner)
        except Gone:
            if position != 0 and begin is not SessionStart.RESTART:
                raise
        except NotFound:
            if position or begin is SessionStart.NEVER:
                raise
        other = self._sessions.get(session_id)
        if other is not None:
            _check_owner(other, owner)
        if owner is not None:
            owner.check_new()
            owner.sessions += 1
        history = History(self._history_vectors, self._dim, compact=self._compact)
        session = Session(session_id, history, owner=owner)
        self._new[session_id] = session
        return session

    def _add_tombstones(self, evicted: list[tuple[str, Session]]) -> None:
        for session_id, session in evicted:
            _release_quota(session)
            self._tombstones.put(session_id, session.owner)
            self._tombstones.shrink()


def _check_owner(session: Session, owner: SessionQuota | None) -> None:
    if session.owner is not owner:
        # As for an id that nobody has: whether it exists is the owner's affair.
        raise unknown_session(session.id)


def _charge(session: Session, size: int) -> None:
    """Count `size` bytes for the session's owner, in place of what was counted before."""
    if session.owner is not None:
        session.owner.nbytes += size - session.charged
        session.charged = size


def _release_quota(session: Session) -> None:
    """Give back what the session takes of its owner's quota, once."""
    if session.owner is not None:
        _charge(session, 0)
        session.owner.sessions -= 1
