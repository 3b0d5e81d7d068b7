"""A sentence table is read with its text, and refused if the two do not fit."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from corpora.corpus import CorpusError
from training.data import sentence_table

_HEADER = "name\tgenre\tsource\tlicence\tfirst_line\tsentences\n"
_TABLE = _HEADER + "one\tbooks\there\tCC0\t0\t2\ntwo\tlaw\tthere\tMIT\t2\t1\n"
_TEXT = "A first sentence.\nA second one.\nThe third of all.\n"


def _read(tmp_path: Path, text: str = _TEXT, table: str = _TABLE) -> sentence_table.SentenceTable:
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "table.tsv").write_text(table)
    return sentence_table.read(tmp_path / "text.txt", tmp_path / "table.tsv")


def test_documents_and_sentences(tmp_path: Path) -> None:
    found = _read(tmp_path)
    assert [(d.name, d.genre, d.first_line, d.sentences) for d in found.documents] == [
        ("one", "books", 0, 2),
        ("two", "law", 2, 1),
    ]
    assert found.sentences == _TEXT.splitlines()


@pytest.mark.parametrize(("suffix", "pack"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_a_compressed_text_is_the_same(suffix: str, pack: object, tmp_path: Path) -> None:
    plain = _read(tmp_path)
    packed = tmp_path / f"text.txt{suffix}"
    packed.write_bytes(pack(_TEXT.encode()))  # type: ignore[operator]
    assert sentence_table.read(packed, tmp_path / "table.tsv") == plain


@pytest.mark.parametrize(
    ("text", "table", "message"),
    [
        (_TEXT + "One more line.\n", _TABLE, r"4 lines, but .*table\.tsv lists 3 sentences"),
        ("Only one line.\n", _TABLE, "1 lines, but"),
        (_TEXT.replace("A second one.", " "), _TABLE, "line 2 is empty"),
        (_TEXT, _TABLE.replace("\t2\t1", "\t3\t1"), "line 3: two begins at line 3 .* end at 2"),
        (_TEXT, _TABLE.replace("\t0\t2", "\t0\t0"), "line 2 needs a name"),
        (_TEXT, _TABLE.replace("\tlaw", ""), "line 3 has 5 columns, not 6"),
        (_TEXT, _TABLE.replace("two", "one"), "two documents are called one"),
        (_TEXT, "name\tgenre\n", "first line must be name, genre"),
        (_TEXT, _HEADER, "no document in it"),
        (
            "The same.\nThe same.\n",
            _HEADER + "one\t\t\t\t0\t1\ntwo\t\t\t\t1\t1\n",
            "one and two are the same",
        ),
    ],
)
def test_what_does_not_fit_is_refused(text: str, table: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=message):
        _read(tmp_path, text, table)


def test_a_damaged_archive_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    _read(tmp_path)
    for name, content, message in (
        ("cut.xz", lzma.compress(_TEXT.encode())[:-9], "cannot be read"),
        ("bytes.txt", b"A line.\n\xff\n", "line 2 is not UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorpusError, match=message):
            sentence_table.read(tmp_path / name, tmp_path / "table.tsv")
