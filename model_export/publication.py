"""Publishes a version atomically: it appears in the repository complete or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial-"
"""Prefix of the directories of unfinished exports; they are never served."""


class PublishError(Exception):
    """The version cannot be published; the message says what to do."""


def check_absent(models: Path, model: str, version: str) -> None:
    """Raise `PublishError` if the version exists; a published version is immutable."""
    final = models / model / version
    if final.exists() or final.is_symlink():
        raise PublishError(f"{final} exists; choose another --version or remove it")


@contextmanager
def stage_version(models: Path, model: str, version: str) -> Iterator[Path]:
    """A directory to fill, which becomes `models/<model>/<version>` at the end of the block.

    It is a sibling of its destination, so one rename publishes it, after the files are synced to
    disk. If the block raises, nothing remains, not even directories created for it. The next
    export removes what a killed one left. Raises `PublishError` if the version exists, another
    export of the same model is running, or the repository is not writable.
    """
    home = models / model
    with ExitStack() as cleanup:
        try:
            missing = [path for path in (home, *home.parents) if not path.exists()]
            cleanup.callback(_remove_empty, missing)
            home.mkdir(parents=True, exist_ok=True)
            cleanup.enter_context(_only_export_in(home))
            _remove_leftovers(home)
            check_absent(models, model, version)
            directory = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{version}-", dir=home))
            cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
            directory.chmod(0o755)  # mkdtemp's 0700 would hide it from the service's user
        except OSError as error:
            raise PublishError(f"{home}: cannot be written: {error.strerror or error}") from error
        yield directory
        try:
            _flush(directory)
            directory.rename(home / version)
            _sync(home)
        except OSError as error:
            raise PublishError(f"{home / version}: not published: {error}") from error


def _remove_empty(directories: list[Path]) -> None:
    """Remove the empty ones of `directories`, which are innermost first."""
    for directory in directories:
        with suppress(OSError):
            directory.rmdir()


@contextmanager
def _only_export_in(home: Path) -> Iterator[None]:
    """Lock the model's directory, so that leftovers in it cannot belong to a running export.

    The lock ends with the process.
    """
    descriptor = os.open(home, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PublishError(
                f"another export is writing to {home}; try again when it has finished"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(home: Path) -> None:
    for leftover in home.glob(f"{PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _flush(directory: Path) -> None:
    for path in directory.iterdir():
        _sync(path)
    _sync(directory)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
