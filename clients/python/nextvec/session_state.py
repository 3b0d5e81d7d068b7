"""What a client knows of one session, and how it recovers one that the service has lost. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from nextvec.arrays import Vectors
from nextvec.errors import GoneError, NotFoundError, PositionConflictError, StatusError


class Recovery(Enum):
    """What to do after an append was refused."""

    PRIME = "send the kept vectors again from position 0"
    REPLACE = "delete the session, and then send the kept vectors again"
    NONE = "nothing helps: raise the error"


class KeptVectors:
    """The last vectors of a session, as many as the largest window has; all while it is unknown."""

    def __init__(self) -> None:
        self._rows: deque[Vectors] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def extend(self, rows: Vectors, window: int | None) -> None:
        """Add `rows` `[k, dim]`, and drop all but the last `window`."""
        # A row of its own each: a view would keep the whole array alive.
        self._rows.extend(row.copy() for row in rows)
        while window is not None and len(self._rows) > window:
            self._rows.popleft()

    def last(self, count: int) -> list[Vectors]:
        """The last `count` vectors, or all if there are fewer, each `[dim]`."""
        return [] if count <= 0 else list(self._rows)[-count:]


@dataclass
class SessionState:
    """One session from the caller's point of view. Its owner changes it by one operation at a time.

    `length` counts the vectors that were appended. `position` is the session's length on the
    server, which is smaller after the session was primed with its last vectors only. `possible`
    are lengths that the server may have reached, because an append got no answer. `is_doubtful` is
    true while a session is replaced: what the server holds is not known.
    """

    id: str
    kept: KeptVectors | None
    length: int = 0
    position: int = 0
    possible: set[int] = field(default_factory=set)
    is_doubtful: bool = False

    def recovery(self, error: StatusError, window: int | None) -> Recovery:
        """Choose what to do after `error` refused an append.

        `window` is the largest of the service's versions, None if not known.
        """
        needed = self._recovery(error)
        return needed if needed is Recovery.NONE or self.can_prime(window) else Recovery.NONE

    def can_prime(self, window: int | None) -> bool:
        """Whether the kept vectors are all that a version would read."""
        kept = 0 if self.kept is None else len(self.kept)
        return kept >= (self.length if window is None else min(self.length, window))

    def rows_to_prime(self, rows: Vectors, window: int | None) -> Vectors:
        """Return the kept vectors before `rows` `[k, dim]`, and `rows`: together a window."""
        kept = [] if self.kept is None else self.kept.last(self._room(len(rows), window))
        return np.concatenate([np.stack(kept), rows]) if kept else rows

    def reset(self) -> None:
        """Begin again. An append on its way may still arrive, so `possible` stays."""
        if self.kept is not None:
            self.kept = KeptVectors()
        self.length = self.position = 0
        self.is_doubtful = False

    def begin_append(self, count: int) -> bool:
        """Note that `count` vectors are on their way; False if as many may have arrived before."""
        length = self.position + count
        is_new = length not in self.possible
        self.possible.add(length)
        return is_new

    def cancel_append(self, count: int) -> None:
        """Note that the service has refused them."""
        self.possible.discard(self.position + count)

    def commit(self, rows: Vectors, position: int, window: int | None) -> None:
        """Note that `rows` were appended; the session has the length `position` on the server."""
        if self.kept is not None:
            self.kept.extend(rows, window)
        self.length += len(rows)
        self.position = position
        self.possible.clear()
        self.is_doubtful = False

    def _room(self, count: int, window: int | None) -> int:
        return self.length if window is None else window - count

    def _recovery(self, error: StatusError) -> Recovery:
        if isinstance(error, PositionConflictError):
            return self._recovery_at(error.position)
        if isinstance(error, GoneError):
            return Recovery.PRIME
        # Deleted while the append waited, by this client's own earlier attempt or by another one.
        if isinstance(error, NotFoundError) and error.code == "session_not_found":
            return Recovery.REPLACE if self.length else Recovery.NONE
        return Recovery.NONE

    def _recovery_at(self, true: int) -> Recovery:
        """Choose what to do if the session has the length `true` on the server."""
        if self.is_doubtful:
            return Recovery.REPLACE
        if true == 0:
            return Recovery.PRIME  # the service was restarted
        if true < self.position or true <= max(self.possible, default=0):
            # An append whose answer was lost had arrived; or this is an older copy of the session,
            # for example of a replica.
            return Recovery.REPLACE
        return Recovery.NONE  # somebody else appends to it
