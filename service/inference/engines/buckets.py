"""Batch sizes that a device prepares for; other batches are padded or split."""

from __future__ import annotations

BUCKETS = (1, 2, 4, 8, 16, 32)


def bucket_of(rows: int) -> int:
    """The smallest bucket that holds `rows`, 1 ≤ rows ≤ the largest bucket."""
    return next(bucket for bucket in BUCKETS if bucket >= rows)


def pieces(rows: int) -> list[slice]:
    """Split `rows` into as few runs as possible that each fit a bucket."""
    largest = BUCKETS[-1]
    return [slice(start, min(start + largest, rows)) for start in range(0, rows, largest)]
