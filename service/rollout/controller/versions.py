"""The model versions, as a rollout sees them."""

from __future__ import annotations

from typing import Protocol

from service.manifest import Manifest


class VersionsPort(Protocol):
    """Three verbs; the registry of loaded versions has them."""

    def available(self) -> set[str]:
        """Versions in the repository."""
        ...

    async def manifest(self, version: str) -> Manifest:
        """What the version says of itself: of the loaded one where it is loaded.

        Raises `VersionError` or `NotFound`.
        """
        ...

    async def prepare(self, version: str) -> None:
        """Load, check the digest, warm up; a version that is loaded stays so.

        Raises `VersionError` or `NotFound` for one that cannot be served.
        """
        ...
