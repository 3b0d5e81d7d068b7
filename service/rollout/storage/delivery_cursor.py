"""The port to how far each webhook has been served from the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """The next audit row for a webhook, and how many more wait behind it."""

    row: dict[str, Any]
    behind: int


class DeliveryCursor(Protocol):
    """The last audit row that each webhook has received. Every method raises `StoreError`."""

    async def follow(self, names: Sequence[str], begun: float) -> None:
        """Keep a cursor for exactly these webhooks.

        A new one starts with the rows written since `begun`, in epoch seconds.
        """
        ...

    async def next(self, name: str) -> PendingDelivery | None:
        """The oldest row that the webhook has not received."""
        ...

    async def advance(self, name: str, number: int) -> None:
        """Note that the webhook needs no row up to this one any more."""
        ...
