"""Reads a corpus of sentences with a table of its documents.

The text has one sentence a line, in UTF-8, plain or compressed with xz or gzip. The table has a
header and one document a line, separated by tabs and without quoting: `name`, `genre`, `source`,
`licence`, `first_line` (from 0) and `sentences`.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from dataclasses import dataclass
from pathlib import Path

from corpora.corpus import CorpusError

COLUMNS = ("name", "genre", "source", "licence", "first_line", "sentences")


@dataclass(frozen=True)
class TableDocument:
    """A document: the `sentences` lines from `first_line` on."""

    name: str
    genre: str
    source: str
    licence: str
    first_line: int
    sentences: int


@dataclass(frozen=True)
class SentenceTable:
    """Documents in order, and their sentences; `sha256` is that of the uncompressed text."""

    documents: tuple[TableDocument, ...]
    sentences: list[str]
    sha256: str


def read(text: Path, table: Path) -> SentenceTable:
    """Read `text` and its `table`.

    Raises `CorpusError`, naming the file and the line, if a file cannot be read, if a document
    does not begin where the one before it ends, if the lines are not those of the table, or if
    two documents have one name or the same sentences.
    """
    documents = _documents(table)
    raw = _content(text)
    try:
        lines = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise CorpusError(f"{text}: line {number} is not UTF-8; convert the file") from error
    if lines[-1] == "":
        lines.pop()
    expected = documents[-1].first_line + documents[-1].sentences
    if len(lines) != expected:
        raise CorpusError(f"{text}: {len(lines)} lines, but {table} lists {expected} sentences")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise CorpusError(f"{text}: line {number} is empty; every line is a sentence")
    _check_distinct(table, documents, lines)
    return SentenceTable(documents, lines, hashlib.sha256(raw).hexdigest())


def _check_distinct(table: Path, documents: tuple[TableDocument, ...], lines: list[str]) -> None:
    """A document that is there twice could be both held out and trained on."""
    names, contents = set[str](), dict[bytes, str]()
    for document in documents:
        if document.name in names:
            raise CorpusError(f"{table}: two documents are called {document.name}; rename one")
        own = lines[document.first_line : document.first_line + document.sentences]
        digest = hashlib.sha256("\n".join(own).encode()).digest()
        if digest in contents:
            raise CorpusError(
                f"{table}: {contents[digest]} and {document.name} are the same; remove one"
            )
        names.add(document.name)
        contents[digest] = document.name


def _documents(table: Path) -> tuple[TableDocument, ...]:
    try:
        lines = table.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{table}: not a readable table: {error}") from error
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise CorpusError(f"{table}: the first line must be {', '.join(COLUMNS)}, tab-separated")
    found: list[TableDocument] = []
    at = 0
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        if len(fields) != len(COLUMNS):
            raise CorpusError(
                f"{table}: line {number} has {len(fields)} columns, not {len(COLUMNS)}"
            )
        name, genre, source, licence, first, count = fields
        if not name or not (first.isdecimal() and count.isdecimal()) or int(count) < 1:
            raise CorpusError(
                f"{table}: line {number} needs a name, the number of its first line and a "
                "positive number of sentences"
            )
        if int(first) != at:
            raise CorpusError(
                f"{table}: line {number}: {name} begins at line {first} of the text, but the "
                f"documents before it end at {at}"
            )
        found.append(TableDocument(name, genre, source, licence, at, int(count)))
        at += int(count)
    if not found:
        raise CorpusError(f"{table}: no document in it")
    return tuple(found)


def _content(text: Path) -> bytes:
    try:
        raw = text.read_bytes()
        if text.suffix == ".xz":
            return lzma.decompress(raw)
        return gzip.decompress(raw) if text.suffix == ".gz" else raw
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise CorpusError(f"{text}: cannot be read: {error}") from error
