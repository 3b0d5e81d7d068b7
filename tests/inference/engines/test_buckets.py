"""Batch sizes that a device prepares for."""

from __future__ import annotations

import pytest

from service.inference.engines.buckets import BUCKETS, bucket_of, pieces


@pytest.mark.parametrize(
    ("rows", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (17, 32), (32, 32)]
)
def test_the_smallest_bucket_that_holds_the_rows(rows, bucket):
    assert bucket == bucket_of(rows)


@pytest.mark.parametrize("rows", [0, 1, 31, 32, 33, 64, 100])
def test_pieces_cover_the_rows_once_and_fit_a_bucket(rows):
    cut = pieces(rows)
    assert list(range(rows)) == [row for piece in cut for row in range(piece.start, piece.stop)]
    assert all(piece.stop - piece.start <= BUCKETS[-1] for piece in cut)
    assert -(-rows // BUCKETS[-1]) == len(cut)
