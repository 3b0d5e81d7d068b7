"""A packed corpus is mapped, says what the file says, and refuses what is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpora import corpus
from corpora.corpus import Corpus, CorpusError
from corpora.packed_corpus import PackedCorpus, open_corpus, save_packed


@pytest.fixture
def packed(small_file: Path) -> PackedCorpus:
    return open_corpus(small_file)


def test_it_holds_the_same_vectors_as_the_corpus(packed: PackedCorpus, small_file: Path) -> None:
    whole = corpus.load(small_file)
    rows = np.array([3, 0, 319])
    np.testing.assert_allclose(packed.vectors(rows), whole.vectors[rows], atol=1e-6)
    assert packed.documents == whole.documents
    assert packed.lengths.tolist() == [20] * 16


def test_an_uncompressed_file_is_mapped_and_reads_as_a_corpus(
    packed: PackedCorpus, tmp_path: Path
) -> None:
    path = tmp_path / "mapped.npz"
    labelled = PackedCorpus(
        packed.vectors_int8,
        packed.scale,
        packed.document_id,
        packed.documents,
        ("law",) * 16,
        ("here",) * 16,
    )
    save_packed(path, labelled)
    again = open_corpus(path)
    assert isinstance(again.vectors_int8, np.memmap)
    assert (again.vectors_int8 == packed.vectors_int8).all()
    assert (again.genres[0], again.sources[15]) == ("law", "here")
    assert len(corpus.load(path).vectors) == 320


def test_chosen_documents_are_renumbered(packed: PackedCorpus, small: Corpus) -> None:
    chosen = np.arange(16) % 8 == 7
    kept = packed.pack(chosen)
    assert kept.documents == ("document 7", "document 15")
    assert kept.document_id.tolist() == [0] * 20 + [1] * 20
    expected = small.vectors[chosen[small.document_id]]
    assert 0.999 < (kept.vectors(np.arange(40)) * expected).sum(1).min()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors_int8": np.zeros((4, 768), np.int8)}, "row 0 is not a direction"),
        ({"vectors_int8": np.ones((4, 384), np.int8)}, r"shape \[4, 384\], not \[n, 768\]"),
        ({"scale": np.array([1, 1, np.nan, 1], np.float32)}, "row 2 is not a direction"),
        ({"vectors_int8": np.ones((4, 768), np.int16)}, "type int16, not int8"),
        ({"genre": np.array(["a", "b", "c"])}, "genre needs one text for each of 2 documents"),
        ({"document_id": np.array([0, 1, 0, 1], np.int32)}, "document_id is not ascending"),
    ],
)
def test_a_wrong_file_is_refused(
    change: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    arrays = {
        "vectors_int8": np.ones((4, 768), np.int8),
        "scale": np.ones(4, np.float32),
        "document_id": np.array([0, 0, 1, 1], np.int32),
        "document": np.array(["a", "b"]),
        **change,
    }
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match=message):
        open_corpus(path)


def test_a_cut_file_is_refused(packed: PackedCorpus, tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    save_packed(path, packed)
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(CorpusError, match=r"not a readable \.npz file"):
        open_corpus(path)
