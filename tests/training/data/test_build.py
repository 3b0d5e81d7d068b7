"""A data set is built document by document, goes on after a kill, and says what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from corpora import corpus
from corpora.corpus import CorpusError
from training.data import texts
from training.data.build import build, segment
from training.data.texts import TextDocument


class HashEmbedder:
    """The vector of a sentence depends only on the sentence; counts the embedded sentences."""

    identity = {"name": "hash"}  # noqa: RUF012 - a fake's constant

    def __init__(self, killed_after: int = 1_000_000) -> None:
        self.embedded: list[str] = []
        self._left = killed_after

    def embed(self, sentences: Sequence[str]) -> np.ndarray:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        self.embedded += sentences
        rows = [
            np.random.default_rng(int(hashlib.sha256(s.encode()).hexdigest()[:8], 16))
            for s in sentences
        ]
        vectors = np.stack([rng.standard_normal(768) for rng in rows]).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


_DOCUMENTS = [
    TextDocument("first", "The state of the Union is good. It was not always as good."),
    TextDocument("second", "We meet again after one whole year."),
    TextDocument("third", "Nothing more is left for us to say. Or so it seemed to us then."),
]


def test_the_data_set_holds_what_the_manifest_says(tmp_path: Path) -> None:
    """Vectors in reading order, the position of each document, and matching digests."""
    embedder = HashEmbedder()
    manifest = json.loads(build(segment(_DOCUMENTS, embedder), embedder, tmp_path).read_text())
    known = corpus.load(tmp_path / "corpus.npz")
    sentences = (tmp_path / "sentences.txt").read_text().splitlines()
    expected = HashEmbedder().embed(sentences)
    assert ("first", "second", "third") == known.documents
    assert [0, 0, 1, 2, 2] == known.document_id.tolist()
    assert 0.999 < (known.vectors * expected).sum(1).min()
    assert [("first", 0, 2), ("second", 2, 1), ("third", 3, 2)] == [
        (d["name"], d["offset"], d["vectors"]) for d in manifest["documents"]
    ]
    raw = (tmp_path / "corpus.npz").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == manifest["corpus_sha256"]
    assert {"corpus.npz", "sentences.txt", "manifest.json"} == {p.name for p in tmp_path.iterdir()}


def test_a_broken_off_build_goes_on_where_it_was(tmp_path: Path) -> None:
    """Nothing is embedded twice, and the result equals that of an uninterrupted build."""
    broken = HashEmbedder(killed_after=2)
    with pytest.raises(KeyboardInterrupt):
        build(segment(_DOCUMENTS, broken), broken, tmp_path / "a")
    assert not (tmp_path / "a" / "manifest.json").exists()
    again, unbroken = HashEmbedder(), HashEmbedder()
    build(segment(_DOCUMENTS, again), again, tmp_path / "a")
    build(segment(_DOCUMENTS, unbroken), unbroken, tmp_path / "b")
    assert unbroken.embedded == broken.embedded + again.embedded
    for name in ("sentences.txt", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_half_written_part_is_not_taken(tmp_path: Path) -> None:
    """A partial file of a killed build is overwritten."""
    embedder = HashEmbedder()
    segmented = segment(_DOCUMENTS, embedder)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f".{segmented[0].digest}.npy.partial").write_bytes(b"half")
    build(segmented, embedder, tmp_path)
    assert 5 == len(embedder.embedded)


@pytest.mark.parametrize(
    ("documents", "complaint"),
    [
        ([TextDocument("short", "Too few words.")], "no document holds"),
        ([_DOCUMENTS[0], TextDocument("copy", _DOCUMENTS[0].text)], "first and copy are the same"),
        (
            [_DOCUMENTS[0], TextDocument("first", _DOCUMENTS[1].text)],
            "two documents are called first",
        ),
    ],
)
def test_documents_that_could_leak_or_are_empty_are_refused(
    documents: list[TextDocument], complaint: str
) -> None:
    """The same text twice could be trained on and held out."""
    with pytest.raises(CorpusError, match=complaint):
        segment(documents, HashEmbedder())


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    """Folders below it included."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_text("b one")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "notes.md").write_text("not text")
    assert [TextDocument("a", "a"), TextDocument("b/one", "b one")] == texts.folder(tmp_path)


def test_a_folder_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """The byte is named."""
    with pytest.raises(CorpusError, match="no such folder"):
        texts.folder(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"no \.txt files"):
        texts.folder(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(CorpusError, match=r"latin\.txt: byte 3 is not UTF-8"):
        texts.folder(tmp_path)
