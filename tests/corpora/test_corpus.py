"""A corpus is read completely or refused with the place of the fault; its split leaks nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from corpora import corpus
from corpora.corpus import Corpus, CorpusError


def _good() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "vectors_int8": rng.integers(1, 127, (6, 4), dtype=np.int8),
        "scale": np.full(6, 0.01, np.float32),
        "document_id": np.array([0, 0, 1, 1, 1, 2], np.int32),
        "document": np.array(["a", "b", "c"]),
    }


def _set(name: str, index: int, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][index] = value

    return change


def _replace(name: str, value: np.ndarray) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = value

    return change


def test_a_good_file_gives_unit_vectors(tmp_path: Path) -> None:
    """In the order of the file, with the names of the documents."""
    path = tmp_path / "good.npz"
    np.savez(path, **_good())
    read = corpus.load(path, dim=4)
    assert np.float32 == read.vectors.dtype
    np.testing.assert_allclose(np.linalg.norm(read.vectors, axis=1), 1, atol=1e-6)
    assert ("a", "b", "c") == read.documents
    assert [0, 0, 1, 1, 1, 2] == read.document_id.tolist()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda arrays: arrays.pop("scale"), "no array scale"),
        (_replace("vectors_int8", np.ones((6, 5), np.int8)), r"shape \[6, 5\], not \[n, 4\]"),
        (_replace("vectors_int8", np.ones(6, np.int8)), r"vectors_int8 has shape \[6\]"),
        (_replace("vectors_int8", np.ones((6, 4))), "vectors_int8 .* type float64"),
        (_replace("scale", np.ones(5, np.float32)), "differ in length"),
        (_replace("scale", np.array(["x"] * 6)), "scale .* type <U1"),
        (_replace("document_id", np.zeros(6)), "document_id .* type float64"),
        (_replace("document", np.array([1, 2, 3])), "document .* type int64"),
        (_replace("document", np.array(["a", None], object)), "not a readable .npz file"),
        (_set("scale", 3, float("nan")), "row 3 is not a direction"),
        (_set("scale", 2, float("inf")), "row 2 is not a direction"),
        (_set("scale", 2, 3e38), "row 2 is not a direction"),
        (_set("scale", 1, 0), "row 1 is not a direction"),
        (_set("scale", 1, -1), "row 1 is not a direction"),
        (_set("vectors_int8", 5, 0), "row 5 is not a direction"),
        (_set("document_id", 0, 1), "not ascending"),
        (_set("document_id", 0, -1), "not ascending"),
        (_set("document_id", 5, 3), r"not ascending within 0\.\.2"),
    ],
)
def test_a_wrong_array_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, np.ndarray]], None], says: str
) -> None:
    """The message names the array or the row."""
    arrays = _good()
    spoil(arrays)
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(CorpusError, match=says):
        corpus.load(path, dim=4)


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    """There is nothing to train on."""
    path = tmp_path / "empty.npz"
    np.savez(path, **{name: array[:0] for name, array in _good().items()})
    with pytest.raises(CorpusError, match="empty"):
        corpus.load(path, dim=4)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    """A missing file, text, a folder, a bare array, a truncated file."""
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, **_good())
    content = whole.read_bytes()
    bad = {
        "text": b"hello",
        "none": b"",
        **{f"cut-{keep}": content[:keep] for keep in (10, len(content) // 2, len(content) - 5)},
        "flipped": content.replace(content[60:80], bytes(20)),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    np.save(tmp_path / "bare.npy", np.ones(3))
    for name in (*bad, "absent", ".", "bare.npy"):
        with pytest.raises(CorpusError):
            corpus.load(tmp_path / name, dim=4)


def test_saving_keeps_directions(tmp_path: Path, small: Corpus) -> None:
    """A value takes eight bits. Saving again what was read changes nothing."""
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    corpus.save(first, small)
    read = corpus.load(first)
    assert 0.999 < (read.vectors * small.vectors).sum(axis=1).min()
    corpus.save(second, read)
    np.testing.assert_allclose(corpus.load(second).vectors, read.vectors, atol=1e-6)


def test_every_eighth_document_is_held_out_whole(small: Corpus) -> None:
    """No document is on both sides, and none is lost."""
    split = corpus.split_every(small)
    assert {7, 15} == set(split.held_out.document_id.tolist())
    assert set(range(16)) - {7, 15} == set(split.train.document_id.tolist())
    assert len(small.vectors) == len(split.train.vectors) + len(split.held_out.vectors)
