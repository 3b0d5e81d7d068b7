"""The number of open connections. At the limit, those that send nothing make room."""

from __future__ import annotations

import sys
from typing import Protocol

RESERVED_DESCRIPTORS = 96
"""File descriptors kept for files, the database and a burst of connections that is refused."""


class Evictable(Protocol):
    """A connection that can be closed to make room."""

    def evict(self) -> None:
        """Close the connection, whose request is not complete."""
        ...


class ConnectionLimit:
    """Counts connections, and closes the one that has waited longest when there are too many.

    A connection waits while its next request is not complete: it is idle, or it sends a
    head or a body. A request that is being answered is never cut off.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open = 0
        self._waiting: dict[Evictable, None] = {}

    def __len__(self) -> int:
        return self._open

    def add(self, connection: Evictable) -> bool:
        """Count a new connection. Return false if there is no room for it."""
        self._open += 1
        self._waiting[connection] = None
        return self._open <= self.most or self.make_room(connection)

    def remove(self, connection: Evictable) -> None:
        """Stop counting a connection that is closed."""
        self._open -= 1
        self._waiting.pop(connection, None)

    def wait(self, connection: Evictable) -> None:
        """The connection waits for a part of a request, from now on."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def answer(self, connection: Evictable) -> None:
        """The connection's request is complete."""
        self._waiting.pop(connection, None)

    def make_room(self, newcomer: Evictable | None = None) -> bool:
        """Close the connection that has waited longest. Return false if no other one waits."""
        longest = next(iter(self._waiting), None)
        if longest is None or longest is newcomer:
            return False
        del self._waiting[longest]
        longest.evict()
        return True


def largest_number_of_connections(wanted: int) -> int:
    """Return `wanted`, or what the descriptors of this process allow.

    Raises the soft limit of descriptors to the hard one as far as that is needed.
    """
    if sys.platform == "win32":
        return wanted
    import resource  # noqa: PLC0415  not available on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, max(1, soft - RESERVED_DESCRIPTORS))
