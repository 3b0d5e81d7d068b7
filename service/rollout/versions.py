"""The model versions, as a rollout sees them."""

from __future__ import annotations

from typing import Protocol


class VersionsPort(Protocol):
    """Two verbs; the registry of loaded versions has them."""

    def available(self) -> set[str]:
        """Versions in the repository."""
        ...

    async def prepare(self, version: str) -> None:
        """Load, check the digest, warm up; a version that is loaded stays so.

        Raises `VersionError` or `NotFound` for one that cannot be served.
        """
        ...
