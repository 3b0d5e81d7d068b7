"""A session in this process's memory, and its claim on the stored one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from service.contexts.session import AppendPlan, Session


@dataclass(eq=False)
class HeldSession(Session):
    """The copy of a stored session.

    `fence` is this replica's claim, and `current` is false once another replica is known, or
    might, to have claimed the session since. `begin` is what the append that holds the lock may
    begin. `fresh`: the claim was made by that append. `ended`: the session was deleted.

    `stored` is the number of vectors that the store is known to have, and `confirmed` when it
    last said so, by the monotonic clock. While `sending`, the first `sent` vectors are on their
    way; `idle` is set when they have arrived or failed. `counted` vectors are counted in the
    backlog. `checkpointed` is the length at the last checkpoint. `admitted` is when this replica
    last counted the session for its owner. `identified` is the
    plan that the store was told of, and its fingerprint, until the session commits it.
    """

    keys: tuple[bytes, ...] = ()
    fence: bytes = b"0"
    current: bool = False
    begin: int = 0
    fresh: bool = False
    ended: bool = False
    stored: int = 0
    confirmed: float = 0.0
    sending: bool = False
    sent: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    counted: int = 0
    checkpointed: int = 0
    admitted: float | None = None
    identified: tuple[AppendPlan, bytes] | None = None

    def identify(self, plan: AppendPlan) -> bytes:
        """As in `Session`, and only once if the store was told of the plan."""
        known, self.identified = self.identified, None
        return known[1] if known is not None and known[0] is plan else super().identify(plan)

    @property
    def backlog(self) -> int:
        """Vectors in memory that the store is not known to have, and that are to be stored."""
        return max(0, self.length - self.stored) if self.current else 0

    def is_idle_at(self, length: int) -> bool:
        """Whether nobody uses the session, nothing of it waits, and it has `length` vectors."""
        return not (self.users or self.sending or self.backlog) and self.length == length
