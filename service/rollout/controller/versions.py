"""The port to the model versions that a rollout needs."""

from __future__ import annotations

from typing import Protocol

from service.manifest import Manifest


class VersionsPort(Protocol):
    """What a rollout needs to know and do about model versions. The registry implements it."""

    def available(self) -> set[str]:
        """The versions in the repository."""
        ...

    def digests(self) -> dict[str, str]:
        """The loaded versions, each with the digest of its graphs."""
        ...

    async def manifest(self, version: str) -> Manifest:
        """The version's manifest, of the loaded files if it is loaded.

        Raises `VersionError` or `NotFound`.
        """
        ...

    async def prepare(self, version: str) -> None:
        """Load the version, verify its digest and warm it up. A loaded version stays loaded.

        Raises `VersionError` or `NotFound` for a version that cannot be served.
        """
        ...
