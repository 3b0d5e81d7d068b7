"""One method a function of the server; see `service/redis/functions.lua`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.contexts.history import encode_rows
from service.contexts.redis_store.held_session import HeldSession
from service.contexts.session_quota import SessionQuota
from service.redis.client import RedisClient
from service.types import Variant, Vectors


@dataclass(frozen=True)
class SessionForm:
    """What all replicas of a fleet must agree on: sessions live `ttl_seconds` without an append,
    and `history_vectors` of width `dim` are kept of each, in 8 bits if `compact`."""

    ttl_seconds: float
    history_vectors: int
    dim: int
    compact: bool


class SessionCalls:
    """Calls of one replica, for the sessions of `fleet`."""

    def __init__(self, client: RedisClient, form: SessionForm, fleet: str, replica: str) -> None:
        self.client = client
        self.form = form
        self._fleet = fleet
        self._replica = replica
        self._ttl = max(1, round(form.ttl_seconds * 1000))

    def keys(self, session_id: str) -> tuple[bytes, ...]:
        """The session's keys. Its id is their hash tag: they are in one slot of a cluster."""
        stem = f"nv:{self._fleet}:{{{session_id}}}:".encode()
        return stem + b"m", stem + b"h", stem + b"s"

    def claim(self, session: HeldSession, owner: SessionQuota | None) -> asyncio.Future[Any]:
        """Claim the session under the next fence, and read what the copy lacks."""
        # A copy with vectors that were not stored is no prefix of what is stored.
        have = session.length if session.length == session.stored else 0
        return self.client.call(
            "claim",
            session.keys,
            self._replica,
            _name(owner),
            self.form.dim,
            self._ttl,
            session.begin,
            session.fence,
            have,
            self.form.history_vectors,
        )

    def append(
        self,
        session: HeldSession,
        vectors: Vectors,
        last: tuple[int, bytes],
        version: str,
        variant: Variant | None,
    ) -> tuple[Any, ...]:
        """The arguments of an append: the session's backlog, and `vectors` after it.

        `last` is the position and the fingerprint of the last append.
        """
        most, start = self.form.history_vectors, session.stored
        unsent = session.length - start
        if last[0] == 0:  # the session begins with these vectors: what it had is dropped
            start = unsent = 0
        rows = encode_rows(vectors[-most:], compact=self.form.compact) if len(vectors) else []
        if unsent and len(rows) < most:
            rows = session.history.encoded(min(unsent, most - len(rows))) + rows
        return (
            session.fence,
            start,
            unsent + len(vectors),
            *last,
            version,
            "" if variant is None else variant.value,
            self._ttl,
            most,
            *rows,
        )

    def backlog(self, session: HeldSession) -> tuple[Any, ...]:
        """The arguments of an append of what is in memory and not stored."""
        assert session.last is not None
        most, start = self.form.history_vectors, session.stored
        return (
            session.fence,
            start,
            session.length - start,
            session.last.position,
            session.last.fingerprint,
            session.version,
            "" if session.variant is None else session.variant.value,
            self._ttl,
            most,
            *session.history.encoded(min(session.length - start, most)),
        )

    def send_append(
        self, session: HeldSession, arguments: tuple[Any, ...], on_outcome: Callable[[Any], None]
    ) -> None:
        """Append, and call `on_outcome` with the reply or a `RedisFailureError`."""
        self.client.send("append", session.keys, arguments, on_outcome)

    def undo(self, session: HeldSession, length: int, count: int) -> None:
        """Take back the last `count` of `length` vectors, whatever comes of it."""
        last = session.last
        before = ("", "") if last is None else (last.position, last.fingerprint)
        self.client.send("undo", session.keys, (session.fence, length, count, *before), _ignore)

    def checkpoint(self, session: HeldSession, states: bytes) -> None:
        """Store the states after all vectors of the session, whatever comes of it."""
        arguments = (session.fence, session.length, self._ttl, states)
        self.client.send("checkpoint", session.keys, arguments, _ignore)

    def finish(self, session: HeldSession, length: int) -> asyncio.Future[Any]:
        """Delete the session, which has `length` vectors, under its fence."""
        return self.client.call("finish", session.keys, session.fence, length, self._ttl)

    def admit(
        self, session: HeldSession, owner: SessionQuota, *, bounded: bool = True
    ) -> asyncio.Future[Any]:
        """Count the session for its owner, or refuse it if that has too many and is `bounded`.

        The count outlives the session by a quarter of its life: it is renewed as rarely.
        """
        most = owner.max_sessions if bounded and owner.max_sessions is not None else ""
        life = self._ttl + self._ttl // 4
        return self.client.call("admit", self._owner_key(owner), session.id, life, most)

    def dismiss(self, session_id: str, owner: SessionQuota) -> None:
        """Count the session no more, whatever comes of it."""
        self.client.send("dismiss", self._owner_key(owner), (session_id,), _ignore)

    def _owner_key(self, owner: SessionQuota) -> tuple[bytes, ...]:
        return (f"nv:{self._fleet}:owner:{{{owner.name}}}".encode(),)

    def read(self, session_id: str, owner: SessionQuota | None) -> asyncio.Future[Any]:
        """Read what the session is."""
        return self.client.call("read", self.keys(session_id), _name(owner), self._ttl)

    def delete(self, session_id: str, owner: SessionQuota | None) -> asyncio.Future[Any]:
        """Delete the session, whoever holds it."""
        return self.client.call("delete", self.keys(session_id), _name(owner), self._ttl)


def _name(owner: SessionQuota | None) -> str:
    return "" if owner is None else owner.name


def _ignore(_outcome: object) -> None:
    """Do nothing: whatever came of the call, the next one is right."""
