"""A corpus from a sentence table is built shard by shard and resumes after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from corpora.packed_corpus import open_corpus
from service.manifest import sha256
from training.data.corpus_build import build_from_table
from training.data.sentence_table import SentenceTable, TableDocument
from training.data.tokenization import TokenizedSentences

_TABLE = SentenceTable(
    (
        TableDocument("one", "books", "here", "CC0", 0, 3),
        TableDocument("two", "law", "there", "MIT", 3, 4),
    ),
    [f"sentence {number}" for number in range(7)],
    "digest",
)


def _tokenize(shards: list[list[str]]) -> Iterator[TokenizedSentences]:
    for shard in shards:
        tokens = np.array([int(sentence.split()[1]) for sentence in shard], np.int32)
        yield TokenizedSentences(tokens, np.ones(len(shard), np.int32))


class CountingEmbedder:
    """A sentence's vector is its number in every place; stops after `killed_after` shards."""

    def __init__(self, killed_after: int = 100) -> None:
        self.embedded: list[int] = []
        self._left = killed_after

    def embed(self, sentences: TokenizedSentences) -> tuple[np.ndarray, np.ndarray]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        self.embedded += sentences.tokens.tolist()
        values = np.repeat(sentences.tokens[:, None] + 1, 768, axis=1).astype(np.int8)
        return values, np.ones(len(values), np.float32)


def _build(embedder: CountingEmbedder, out: Path, name: str = "fake") -> tuple[Path, list[int]]:
    seen: list[int] = []
    path = build_from_table(
        _TABLE, _tokenize, embedder, {"name": name}, 768, out, seen.append, shard=2
    )
    return path, seen


def test_the_corpus_holds_the_table_and_its_vectors(tmp_path: Path) -> None:
    path, seen = _build(CountingEmbedder(), tmp_path)
    manifest = json.loads(path.read_text())
    built = open_corpus(tmp_path / "corpus.npz")
    assert built.vectors_int8[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert built.document_id.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert (built.documents, built.genres, built.sources) == (
        ("one", "two"),
        ("books", "law"),
        ("here", "there"),
    )
    assert manifest["corpus_sha256"] == sha256(tmp_path / "corpus.npz")
    assert manifest["documents"][1]["licence"] == "MIT"
    assert sum(seen) == 7
    assert not (tmp_path / "parts").exists()


def test_an_interrupted_build_embeds_only_the_rest(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _build(CountingEmbedder(killed_after=2), tmp_path)
    second = CountingEmbedder()
    _, seen = _build(second, tmp_path)
    assert second.embedded == [4, 5, 6]
    assert seen[0] == 4
    assert open_corpus(tmp_path / "corpus.npz").vectors_int8[:, 5].tolist() == [*range(1, 8)]


def test_another_embedder_starts_over(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _build(CountingEmbedder(killed_after=2), tmp_path)
    second = CountingEmbedder()
    _build(second, tmp_path, "another")
    assert second.embedded == [*range(7)]


def test_a_shard_that_was_not_recorded_is_embedded_again(tmp_path: Path) -> None:
    """A kill between the vectors and the record leaves more vectors than the record says."""
    with pytest.raises(KeyboardInterrupt):
        _build(CountingEmbedder(killed_after=2), tmp_path)
    with (tmp_path / "parts" / "values").open("ab") as file:
        file.write(b"\x11" * 1000)
    _build(CountingEmbedder(), tmp_path)
    assert open_corpus(tmp_path / "corpus.npz").vectors_int8[:, 9].tolist() == [*range(1, 8)]
