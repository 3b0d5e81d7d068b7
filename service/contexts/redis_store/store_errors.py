"""What a caller is told when a call to the store fails, or has no session to give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.contexts.session_store import unknown_session
from service.errors import Gone, QueueFull, StoreUnavailable
from service.redis.failures import MEMORY_FULL, RedisFailureError, RedisRefusalError

_RETRY_SECONDS = 5.0
"""What a caller is told to wait while the store's memory is full."""


def caller_error(failure: RedisFailureError) -> QueueFull | StoreUnavailable:
    """429 while the store's memory is full, and 503 for everything else."""
    if isinstance(failure, RedisRefusalError) and failure.code == MEMORY_FULL:
        return QueueFull("the memory of the session store is full", _RETRY_SECONDS)
    return StoreUnavailable(f"the session store is not available: {failure}")


def check_status(session_id: str, reply: Sequence[Any], dim: int = 0) -> None:
    """Raise `NotFound` or `Gone` for a session that the server does not hand out."""
    status = reply[0]
    if status in {b"unknown", b"foreign"}:
        raise unknown_session(session_id)
    if status == b"gone":
        raise Gone(
            f"session {session_id!r} has expired; send its whole context again with position 0"
        )
    if status == b"other":
        raise Gone(
            f"session {session_id!r} has vectors of {reply[1].decode()} values, not {dim}; "
            "send its whole context again with position 0"
        )
