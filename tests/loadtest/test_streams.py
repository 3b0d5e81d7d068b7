"""Streams have exact values and are reproducible."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.streams import StreamError, Streams, load


def _save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_a_vector_is_its_int8_row_times_its_scale_normalised(tmp_path):
    """The values are numpy's own, and of unit length."""
    quantised = np.array([[3, 4], [-100, 0], [0, 7]], np.int8)
    scale = np.array([0.5, 0.01, 2.0], np.float32)
    streams = load(_save(tmp_path / "s.npz", vectors_int8=quantised, scale=scale))
    expected = np.array([[0.6, 0.8], [-1, 0], [0, 1]], np.float32)
    np.testing.assert_array_equal(expected, streams.vectors)
    assert streams.vectors.dtype == np.dtype("<f4")


def test_a_caller_reads_from_its_own_offset_and_wraps_around():
    """The first row is `offset + start`; row 0 follows the last."""
    streams = Streams(np.arange(10, dtype=np.float32)[:, None])
    assert streams.offset(1) == 997 % 10
    np.testing.assert_array_equal([[7], [8]], streams.read(1, 0, 2))
    np.testing.assert_array_equal([[9], [0], [1]], streams.read(1, 2, 3))
    np.testing.assert_array_equal([[1], [2]], streams.read(1, 4, 2))


def test_a_long_read_wraps_more_than_once():
    """A context longer than the sample repeats the sample."""
    streams = Streams(np.arange(3, dtype=np.float32)[:, None])
    np.testing.assert_array_equal([0, 1, 2, 0, 1, 2, 0], streams.read(0, 0, 7)[:, 0])


def test_a_read_within_the_sample_is_a_view():
    """A long context is not copied."""
    streams = Streams(np.zeros((10, 4), np.float32))
    assert np.shares_memory(streams.vectors, streams.read(0, 2, 5))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"scale": np.ones(2, np.float32)}, "needs vectors_int8 and scale"),
        (
            {"vectors_int8": np.ones((2, 3), np.int8), "scale": np.ones(3, np.float32)},
            "do not fit",
        ),
        (
            {"vectors_int8": np.ones((0, 3), np.int8), "scale": np.ones(0, np.float32)},
            "n > 0",
        ),
        (
            {"vectors_int8": np.zeros((1, 3), np.int8), "scale": np.ones(1, np.float32)},
            "zero or not finite",
        ),
        (
            {"vectors_int8": np.ones((1, 3), np.int8), "scale": np.array([np.nan], np.float32)},
            "zero or not finite",
        ),
    ],
)
def test_data_of_another_form_is_refused_with_the_reason(tmp_path, arrays, reason):
    """Each fault says what is wrong."""
    with pytest.raises(StreamError, match=reason):
        load(_save(tmp_path / "s.npz", **arrays))


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    """The message names the file."""
    with pytest.raises(StreamError, match=r"none\.npz: no such file"):
        load(tmp_path / "none.npz")
    foreign = tmp_path / "foreign.npz"
    foreign.write_bytes(b"not a zip")
    with pytest.raises(StreamError, match="not a readable"):
        load(foreign)
