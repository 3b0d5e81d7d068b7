"""The model repository on disk: `<models>/<model>/<version>/`."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from service.errors import NotFound, VersionError, quoted
from service.manifest import MODEL, NAME, Manifest, sha256

logger = logging.getLogger(__name__)

_USABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
"""A version's name stands in paths of requests and in headers of responses."""


@dataclass(frozen=True)
class VersionFiles:
    """A version whose digests are verified."""

    manifest: Manifest
    graph: Path


class Repository:
    """Reads versions; `nextvec export` publishes them."""

    def __init__(self, models: Path, model: str) -> None:
        self._folder = models / model
        self._reported: set[Path] = set()

    def versions(self) -> tuple[str, ...]:
        """The sorted names of all versions, verified or not.

        Hidden folders are exports that have not finished. An entry that cannot be read, or
        whose name no version can have, is skipped with a warning. Raises `VersionError` if
        the repository itself cannot be read.
        """
        try:
            entries = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise VersionError(f"{self._folder} cannot be read: {error.strerror}") from error
        return tuple(entry.name for entry in entries if self._is_version(entry))

    def _is_version(self, entry: Path) -> bool:
        if entry.name.startswith("."):
            return False
        try:
            found = (entry / NAME).is_file()
        except OSError as error:
            self._report(entry, f"cannot be read: {error.strerror}")
            return False
        if found and not _USABLE_NAME.match(entry.name):
            self._report(entry, "has a name that no version can have")
            return False
        return found

    def _report(self, entry: Path, problem: str) -> None:
        """Warn of an entry once: the repository is listed at every start and load."""
        if entry not in self._reported:
            self._reported.add(entry)
            logger.warning("%s %s; it is skipped", ascii(str(entry)), problem)

    def open(self, version: str) -> VersionFiles:
        """Verify the version's digests and return its files.

        Raises `NotFound`, which lists the existing versions, or `VersionError`.
        """
        manifest = self.manifest(version)
        folder = self._folder / version
        if MODEL not in manifest.files:
            raise VersionError(f"{folder / NAME}: does not list {MODEL}")
        for name, expected in manifest.files.items():
            file = folder / name
            if file.parent != folder or not _is_file(file):
                raise VersionError(f"{file}: listed in the manifest, but missing")
            if _digest(file) != expected:
                raise VersionError(
                    f"{file}: its sha256 differs from the manifest's; export the version again"
                )
        return VersionFiles(manifest, folder / MODEL)

    def manifest(self, version: str) -> Manifest:
        """Read the version's manifest without a check of its files.

        Raises `NotFound`, which lists the existing versions, or `VersionError`.
        """
        # Checked first: a version is a name, and must not be a path out of the folder.
        if version not in self.versions():
            there = ", ".join(self.versions())
            known = f"there are: {there}" if there else "none yet; nextvec export writes one"
            raise NotFound(
                f"there is no version {quoted(version)} in {self._folder} ({known})",
                code="version_not_found",
            )
        path = self._folder / version / NAME
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except OSError as error:
            raise VersionError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise VersionError(f"{path}: {error}") from error
        if manifest.version != version:
            raise VersionError(f"{path}: names another version, {manifest.version!r}")
        return manifest


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise VersionError(f"{path} cannot be read: {error.strerror}") from error


def _digest(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise VersionError(f"{file} cannot be read: {error.strerror}") from error
