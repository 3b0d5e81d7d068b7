"""What a caller is told when a call to the store fails."""

from __future__ import annotations

from service.errors import QueueFull, StoreUnavailable
from service.redis.failures import MEMORY_FULL, RedisFailureError, RedisRefusalError

_RETRY_SECONDS = 5.0
"""What a caller is told to wait while the store's memory is full."""


def caller_error(failure: RedisFailureError) -> QueueFull | StoreUnavailable:
    """429 while the store's memory is full, and 503 for everything else."""
    if isinstance(failure, RedisRefusalError) and failure.code == MEMORY_FULL:
        return QueueFull("the memory of the session store is full", _RETRY_SECONDS)
    return StoreUnavailable(f"the session store is not available: {failure}")
