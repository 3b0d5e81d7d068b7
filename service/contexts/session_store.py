"""The port to the place where sessions are kept.

`memory_store` keeps them in this process. `redis_store` keeps them in a Redis or Valkey server that
all replicas of a fleet share; the memory of a replica is then a cache.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from service.contexts.session import AppendPlan, Session
from service.contexts.session_quota import SessionQuota
from service.errors import NotFound
from service.rollout.routing.traffic_split import Route
from service.types import Variant

MAX_USERS = 32
"""Appends to one session at once; the next one is refused. They run one after the other,
so more of them would only hold memory."""


class SessionStart(Enum):
    """Whether an append may begin a session."""

    IF_UNKNOWN = "begin an unknown session; an evicted one only at position 0"
    RESTART = "begin a session whether or not it exists; drop what it held"
    NEVER = "the session must exist"


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """What a session is, to be read: vectors, the version that holds its state, and its bytes."""

    id: str
    length: int
    variant: Variant | None
    version: str
    nbytes: int


class AppendWrite(Protocol):
    """An append on its way to a shared store, while the engine runs it."""

    async def stored(self) -> bool:
        """Wait until the store has the append, or until it may be answered ahead of the store.

        False: another replica has taken the session over in the meantime. What the engine
        returned is then worthless, and the session has been claimed again: plan the append
        once more. Raises `StoreUnavailable`, `QueueFull`, `NotFound` or `Gone`.
        """
        ...

    def undo(self) -> None:
        """Take the append back, because the engine failed or the caller has gone."""
        ...


class SessionStore(Protocol):
    """Sessions by id. An append uses it in this order:

    1. `async with use(...)` locks the session for one append.
    2. `begin_append` tells a shared store of the append, before the engine runs it.
    3. `AppendWrite.stored` waits for the store's answer; then the session commits the plan.
    4. `keep`, or `forget` after the last append of a sequence.
    """

    def __len__(self) -> int:
        """Sessions in this process's memory."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory of these sessions."""
        ...

    async def close(self) -> None:
        """Write what is not written yet, and disconnect."""
        ...

    def use(
        self,
        session_id: str,
        position: int | None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        owner: SessionQuota | None = None,
    ) -> AbstractAsyncContextManager[Session]:
        """Lock the session for one append, in order of arrival; use it with `async with`.

        An unknown id begins a new session, unless `position` is more than 0. An expired one
        begins again only at `position` 0. Raises `NotFound`, also for a session of another
        owner, `Gone` for an expired one, `QueueFull`, `CallerLimited` if the owner may begin no
        other session, and `StoreUnavailable`.
        """
        ...

    async def refresh(self, session: Session) -> bool:
        """Make sure that the session in memory is the one that is stored.

        True if it was read again. Call it before a caller is told of a conflict, or is given an
        earlier answer again. Raises as `use` does.
        """
        ...

    def begin_append(
        self, session: Session, plan: AppendPlan, route: Route, *, positioned: bool, end: bool
    ) -> AppendWrite | None:
        """Send the append to the store. None if nothing has to be waited for.

        `route` names the version that runs it. `positioned`: the caller has said where it
        continues. `end`: the session ends with this append. Raises `QueueFull` if too much waits
        to be stored, and `StoreUnavailable`.
        """
        ...

    def keep(self, session: Session) -> None:
        """Store the session as it is now, and evict others to make room for it."""
        ...

    def forget(self, session: Session) -> None:
        """End the session. Appends that wait for its lock find it empty."""
        ...

    async def read(self, session_id: str, owner: SessionQuota | None = None) -> SessionSummary:
        """The session, to be shown. Raises `NotFound`, `Gone` and `StoreUnavailable`."""
        ...

    async def delete(self, session_id: str, owner: SessionQuota | None = None) -> None:
        """Delete the session after the appends that came before. Raises as `read` does."""
        ...


@runtime_checkable
class ImmediateSessionStore(SessionStore, Protocol):
    """A store that can hand out a session without waiting for anything."""

    def try_use(
        self,
        session_id: str,
        position: int | None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        owner: SessionQuota | None = None,
    ) -> Session | None:
        """As `use`, without waiting for anything; None if that would be needed.

        Call `leave` in the end. Raises as `use` does.
        """
        ...

    def leave(self, session: Session) -> None:
        """End a use that `try_use` began."""
        ...


def unknown_session(session_id: str) -> NotFound:
    """The error for an id that nobody has, or that another owner has."""
    return NotFound(f"there is no session {session_id!r}", code="session_not_found")
