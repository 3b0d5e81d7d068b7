"""A file beside the database without which a recorded canary gets no traffic.

A full disk cannot record an abort, but it can still delete a file. So the file exists while the
database has a rollout in progress, and an abort that cannot be recorded deletes it. A service
that starts again then sees that the rollout it reads was aborted.
"""

from __future__ import annotations

import os
from pathlib import Path

from service.rollout.storage.errors import StoreError

_MAX_BYTES = 200


class CanaryPermit:
    """The file. It names the rollout that it belongs to. Calls block."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.canary")

    def grant(self, name: str) -> None:
        """Create the file for the rollout called `name`. Raises `StoreError`."""
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            with new.open("w", encoding="ascii") as file:
                file.write(name)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            self._sync_folder()
        except OSError as error:
            raise StoreError(f"{new}: {error.strerror}; no rollout can start without it") from error

    def revoke(self) -> None:
        """Delete the file, if there is one. Raises `StoreError`."""
        try:
            self.path.unlink(missing_ok=True)
            self._sync_folder()
        except OSError as error:
            raise StoreError(f"{self.path} cannot be deleted: {error.strerror}") from error

    def granted(self, name: str) -> bool:
        """Whether the file exists for the rollout called `name`. Raises `StoreError`."""
        try:
            with self.path.open("rb") as file:
                return file.read(_MAX_BYTES) == name.encode()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error.strerror}") from error

    def _sync_folder(self) -> None:
        """Make the change of the folder durable. Windows cannot, and does not need to."""
        if os.name != "posix":
            return
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
