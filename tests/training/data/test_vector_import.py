"""Vectors that exist already are taken as documents, or refused by file and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpora.corpus import CorpusError
from training.data import vector_import


def _unit(rows: int, dim: int = 4, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_an_array_is_one_document(tmp_path: Path) -> None:
    """Its name is the file's."""
    vectors = _unit(5)
    np.save(tmp_path / "diary.npy", vectors)
    (stream,) = vector_import.read(tmp_path / "diary.npy", 4)
    assert ("diary", 0) == (stream.name, stream.rescaled)
    np.testing.assert_allclose(stream.vectors, vectors, atol=1e-6)


def test_an_archive_says_where_documents_begin(tmp_path: Path) -> None:
    """Each change of `document_id` begins one."""
    np.savez(tmp_path / "two.npz", vectors=_unit(5), document_id=np.array([3, 3, 7, 7, 7]))
    streams = vector_import.read(tmp_path / "two.npz", 4)
    assert [("two-3", 2), ("two-7", 3)] == [(s.name, len(s.vectors)) for s in streams]


def test_vectors_of_another_length_keep_their_direction(tmp_path: Path) -> None:
    """They are counted."""
    vectors = _unit(3)
    np.save(tmp_path / "long.npy", vectors * np.array([[1], [5], [1]], np.float32))
    (stream,) = vector_import.read(tmp_path / "long.npy", 4)
    assert 1 == stream.rescaled
    np.testing.assert_allclose(stream.vectors, vectors, atol=1e-6)


@pytest.mark.parametrize("step", [1, 3])
def test_stretches_of_a_sliding_window_are_one_document(tmp_path: Path, step: int) -> None:
    """Each vector occurs once, so it cannot be on both sides of a split."""
    vectors, window = _unit(12), 5
    starts = range(0, len(vectors) - window, step)
    np.savez(
        tmp_path / "windows.npz",
        context_sequences=np.stack([vectors[s : s + window] for s in starts]),
        target_vectors=np.stack([vectors[s + window] for s in starts]),
    )
    (stream,) = vector_import.read(tmp_path / "windows.npz", 4)
    np.testing.assert_allclose(stream.vectors, vectors[: starts[-1] + window + 1], atol=1e-6)


def test_stretches_that_do_not_overlap_are_documents_of_their_own(tmp_path: Path) -> None:
    """A target belongs to the context before it."""
    first, second = _unit(4), _unit(4, seed=1)
    np.savez(
        tmp_path / "apart.npz",
        context_sequences=np.stack([first[:3], second[:3]]),
        target_vectors=np.stack([first[3], second[3]]),
    )
    streams = vector_import.read(tmp_path / "apart.npz", 4)
    assert ["apart-0", "apart-1"] == [stream.name for stream in streams]
    np.testing.assert_allclose(streams[1].vectors, second, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"vectors": _unit(3, dim=5)}, "vectors of shape [3, 5]"),
        ({"vectors": np.where(np.eye(3, 4) > 0, np.nan, 1.0)}, "row 0 is not a direction"),
        ({"vectors": np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]])}, "row 1 is not a direction"),
        ({"vectors": np.ones((2, 4), np.int8)}, "type int8"),
        ({"vectors": np.ones((0, 4))}, "vectors of shape [0, 4]"),
        ({"weights": _unit(3)}, "it holds weights"),
        ({"vectors": _unit(3), "document_id": np.array([1, 0, 1])}, "document_id must be"),
        ({"vectors": _unit(3), "document_id": np.array([0, 1])}, "document_id must be"),
        (
            {"context_sequences": np.ones((2, 3, 4)), "target_vectors": np.ones((3, 4))},
            "do not belong together",
        ),
    ],
)
def test_what_is_no_stream_of_directions_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], complaint: str
) -> None:
    """The error names the file and what is wrong in it."""
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(CorpusError) as caught:
        vector_import.read(tmp_path / "bad.npz", 4)
    assert str(tmp_path / "bad.npz") in str(caught.value)
    assert complaint in str(caught.value)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """The message names it."""
    np.save(tmp_path / "cut.npy", _unit(100))
    raw = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(CorpusError, match=r"cut\.npy: not a readable"):
        vector_import.read(tmp_path / "cut.npy", 4)
