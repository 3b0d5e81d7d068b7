"""How a call to the server fails."""

from __future__ import annotations


class RedisFailureError(Exception):
    """A call failed."""


class RedisDownError(RedisFailureError):
    """The server did not answer in time, or cannot be reached. The call may have taken effect."""


class RedisRefusalError(RedisFailureError):
    """The server refused the call, which had no effect. `code` is the first word of its answer."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.code = answer.partition(" ")[0]


MEMORY_FULL = "OOM"
"""The code of a server that has no room for a write."""
