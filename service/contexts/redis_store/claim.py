"""What a claim may begin, what the server answers, and what becomes of the copy in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.contexts.history import decode_rows
from service.contexts.redis_store.checkpoint import Checkpoint, decode_checkpoint
from service.contexts.redis_store.held_session import HeldSession
from service.contexts.session import LastAppend
from service.contexts.session_store import SessionStart
from service.types import Variant

_TAKEN, _NEW_ONLY, _EXPIRED_TOO = 0, 1, 2


@dataclass(frozen=True)
class StoredSession:
    """A session as the store has it.

    `position` and `fingerprint` are those of the last append. `common` is the length of the
    caller's copy if all of it is stored, else 0. `rows` are the vectors from position `first` on.
    """

    fence: bytes
    length: int
    position: int
    fingerprint: bytes
    version: str
    variant: Variant | None
    common: int
    first: int
    checkpoint: bytes | None
    rows: Sequence[bytes]


def may_begin(position: int | None, begin: SessionStart) -> int:
    """What an append at `position` may begin, as `functions.lua` takes it: nothing, an unknown id,
    or an expired one too."""
    if begin is SessionStart.RESTART:
        return _EXPIRED_TOO
    if begin is SessionStart.NEVER or position:
        return _TAKEN
    return _NEW_ONLY if position is None else _EXPIRED_TOO


def parse_claim(reply: Sequence[Any]) -> StoredSession:
    """The reply to a claim of a session that exists."""
    _, fence, length, position, digest, version, variant, common, first, states, *rows = reply
    return StoredSession(
        fence,
        int(length),
        int(position or -1),
        digest,
        version.decode("utf-8", "replace"),
        variant_of(variant),
        int(common),
        int(first),
        states,
        rows,
    )


def variant_of(text: bytes | None) -> Variant | None:
    """The variant in a stored field; None for a version outside the split."""
    return Variant(text.decode()) if text in {b"stable", b"canary"} else None


def adopt(session: HeldSession, found: StoredSession, dim: int) -> None:
    """Make the copy equal to the stored session, and keep of it what is still true.

    The server sends what the copy lacks: nothing if the copy is equal, and the whole history if
    the copy has vectors that were never stored. Raises `ValueError` for rows of another width.
    """
    rows = decode_rows(found.rows, dim)
    checkpoint = None if found.checkpoint is None else decode_checkpoint(found.checkpoint)
    if found.common != session.length or found.first != session.length:
        session.clear()
    if len(rows):
        session.history.append(rows)
        session.length = found.length
        _take_states(session, checkpoint)
    last = session.last
    if last is None or (last.position, last.fingerprint) != (found.position, found.fingerprint):
        at_the_end = checkpoint is not None and checkpoint.length == found.length
        vector = checkpoint.vector if checkpoint is not None and at_the_end else None
        session.last = LastAppend(found.position, found.fingerprint, vector)
        session.pending = None  # the prediction after these vectors is another replica's
    session.variant, session.version = found.variant, found.version
    session.stored = found.length


def begin_empty(session: HeldSession) -> None:
    """Make the copy a session without vectors."""
    session.clear()
    session.stored = session.checkpointed = 0


def _take_states(session: HeldSession, checkpoint: Checkpoint | None) -> None:
    """Take the states that have read the most: the copy's own, or those of the checkpoint."""
    if checkpoint is not None and session.states_length < checkpoint.length <= session.length:
        session.states = checkpoint.states
        session.states_length = session.checkpointed = checkpoint.length
        session.graph_digest = checkpoint.graph_digest
    if session.length - session.states_length > len(session.history):
        session.states, session.states_length = {}, 0  # vectors in between are not kept
