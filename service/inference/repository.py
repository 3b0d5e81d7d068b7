"""The model repository on disk: `<models>/<model>/<version>/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from service.errors import NotFound, VersionError, quoted
from service.manifest import MODEL, NAME, Manifest, sha256


@dataclass(frozen=True)
class VersionFiles:
    """A version whose digests are verified."""

    manifest: Manifest
    graph: Path


class Repository:
    """Reads versions; `nextvec export` publishes them."""

    def __init__(self, models: Path, model: str) -> None:
        self._folder = models / model

    def versions(self) -> tuple[str, ...]:
        """The sorted names of all versions, verified or not.

        Hidden folders are exports that have not finished.
        """
        if not self._folder.is_dir():
            return ()
        return tuple(
            sorted(
                entry.name
                for entry in self._folder.iterdir()
                if not entry.name.startswith(".") and (entry / NAME).is_file()
            )
        )

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
            if file.parent != folder or not file.is_file():
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
            known = f"there are: {there}" if there else "there is none; nextvec export writes one"
            raise NotFound(
                f"there is no version {quoted(version)} in {self._folder} ({known})",
                code="version_not_found",
            )
        path = self._folder / version / NAME
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise VersionError(f"{path}: {error}") from error
        if manifest.version != version:
            raise VersionError(f"{path}: names another version, {manifest.version!r}")
        return manifest


def _digest(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise VersionError(f"{file} cannot be read: {error.strerror}") from error
