"""Contexts that grow on the server: a kept state each, and the last vectors."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from service.clock import Clock
from service.contexts.history import History
from service.errors import Gone, NotFound, QueueFull
from service.types import State, Variant, Vector

TOMBSTONES = 100_000
"""Ids remembered after eviction, so that 410 can be told from 404."""

MAX_USERS = 32
"""Appends to one session at once; the next is refused. One waits for the other, so
that more of them only hold memory."""

OVERHEAD_BYTES = 2048
"""Python's own for a session: object, lock, dictionary entry; measured roughly."""


class Begin(Enum):
    """What an append may do about a session that is not there, or is."""

    IF_UNKNOWN = "begin one that is not known; an evicted one only at position 0"
    RESTART = "begin whether or not it is there; what was there is forgotten"
    NEVER = "it must be there"


@dataclass(frozen=True)
class LastAppend:
    """What a retry of the last append is recognised by, and its answer."""

    position: int
    digest: bytes
    vector: Vector


@dataclass
class Session:
    """One context. `lock` is held from reading it to changing it.

    `states` are by the position of the first vector each has read. `users`
    counts those who hold the lock or wait for it: such a session is never
    evicted. `digest` is that of the graph the states came from: a version
    exported again under its name is another one. `awaiting` is the dispatch's note on
    the last prediction, whose truth the next vector is.
    """

    id: str
    history: History
    used: float
    length: int = 0
    variant: Variant | None = Variant.STABLE
    version: str = ""
    digest: str = ""
    states: Mapping[int, State] = field(default_factory=dict)
    last: LastAppend | None = None
    awaiting: Any = None
    users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def clear(self) -> None:
        """Back to the beginning."""
        self.history.clear()
        self.length, self.states, self.last, self.awaiting = 0, {}, None, None

    @property
    def nbytes(self) -> int:
        states = sum(state.nbytes for state in self.states.values())
        last = 0 if self.last is None else self.last.vector.nbytes
        return OVERHEAD_BYTES + self.history.nbytes + states + last


class SessionStore:
    """Sessions by id, in order of use, within a budget of bytes and of time.

    Over the budget the least recently used go; a session in use never does.
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
        self._max_bytes = max_bytes
        self._ttl = ttl_seconds
        self._history_vectors = history_vectors
        self._dim = dim
        self._compact = compact
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        # Begun and not yet kept: two first appends at once must meet in one session.
        self._starting: dict[str, Session] = {}
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: str) -> Session:
        """The session. Raises `NotFound`, or `Gone` if it was evicted or expired."""
        self._expire()
        session = self._sessions.get(session_id)
        if session is not None:
            return session
        if session_id in self._gone:
            raise Gone(
                f"session {session_id!r} has expired or was evicted: send its context again "
                "with position 0"
            )
        raise _unknown(session_id)

    def use(self, session_id: str, position: int | None, begin: Begin = Begin.IF_UNKNOWN) -> _Use:
        """The session for one append at a time, in order of arrival: `async with` it.

        An unknown id begins a new session unless `position` says that there
        should be one; an evicted one only at `position` 0, which a caller says
        who knows that it starts again. Raises as `get`. A new session is kept
        when `keep` is called on it, and not before.
        """
        return _Use(self, session_id, position, begin)

    def _enter(self, session_id: str, position: int | None, begin: Begin) -> Session:
        session = self._find(session_id, position, begin)
        if session.users >= MAX_USERS:
            raise QueueFull(f"{session.users} appends to {session_id!r} wait already", 1.0)
        session.users += 1
        return session

    def _check(self, session: Session, begin: Begin) -> None:
        """What may have happened to it while another had it. Raises `NotFound`."""
        if session.length and self._sessions.get(session.id) is not session:
            raise NotFound(
                f"session {session.id!r} was deleted meanwhile", code="session_not_found"
            )
        if begin is Begin.NEVER and not session.length:
            # The append that would have begun it failed, or one has ended it.
            raise _unknown(session.id)

    def _leave(self, session: Session) -> None:
        session.users -= 1
        if session.users == 0 and self._starting.get(session.id) is session:
            del self._starting[session.id]

    def keep(self, session: Session) -> None:
        """Store what a session has become, and make room for it."""
        session.used = self._clock.monotonic()
        self._gone.pop(session.id, None)
        self._starting.pop(session.id, None)
        self._sessions[session.id] = session
        self._sessions.move_to_end(session.id)
        size = session.nbytes
        self.nbytes += size - self._sizes.get(session.id, 0)
        self._sizes[session.id] = size
        while self.nbytes > self._max_bytes:
            idle = next((s for s in self._sessions.values() if not s.users), None)
            if idle is None:
                return
            self._evict(idle.id)

    def forget(self, session: Session) -> None:
        """It has ended: those who wait for it find it at its beginning."""
        if self._sessions.get(session.id) is session:
            self._remove(session.id)
        session.clear()
        self._starting[session.id] = session

    async def delete(self, session_id: str) -> None:
        """Forget it, after the appends that came before. Raises as `get`."""
        self.get(session_id)
        async with self.use(session_id, None) as session:
            if session.length:
                self._remove(session_id)

    def _find(self, session_id: str, position: int | None, begin: Begin) -> Session:
        if session_id in self._starting:
            return self._starting[session_id]
        try:
            return self.get(session_id)
        except Gone:
            if position != 0 and begin is not Begin.RESTART:
                raise
        except NotFound:
            if position or begin is Begin.NEVER:
                raise
        history = History(self._history_vectors, self._dim, compact=self._compact)
        session = Session(session_id, history, self._clock.monotonic())
        self._starting[session_id] = session
        return session

    def _expire(self) -> None:
        oldest = self._clock.monotonic() - self._ttl
        while self._sessions:
            session = next(iter(self._sessions.values()))
            if session.used > oldest or session.users:
                return
            self._evict(session.id)

    def _evict(self, session_id: str) -> None:
        self._remove(session_id)
        self._gone[session_id] = None
        if len(self._gone) > TOMBSTONES:
            self._gone.popitem(last=False)

    def _remove(self, session_id: str) -> None:
        del self._sessions[session_id]
        self.nbytes -= self._sizes.pop(session_id)


def _unknown(session_id: str) -> NotFound:
    return NotFound(f"there is no session {session_id!r}", code="session_not_found")


class _Use:
    """See `SessionStore.use`. A class and not a generator, which costs several times as much."""

    def __init__(
        self, store: SessionStore, session_id: str, position: int | None, begin: Begin
    ) -> None:
        self._store = store
        self._asked = (session_id, position, begin)
        self._session: Session | None = None

    async def __aenter__(self) -> Session:
        session = self._store._enter(*self._asked)  # noqa: SLF001  a part of the store
        try:
            await session.lock.acquire()
            try:
                self._store._check(session, self._asked[2])  # noqa: SLF001  as above
            except BaseException:
                session.lock.release()
                raise
        except BaseException:
            self._store._leave(session)  # noqa: SLF001  as above
            raise
        self._session = session
        return session

    async def __aexit__(self, *_raised: object) -> None:
        assert self._session is not None
        self._session.lock.release()
        self._store._leave(self._session)  # noqa: SLF001  as above
