"""Batches in a few fixed sizes: what a device prepares once for each."""

from __future__ import annotations

BUCKETS = (1, 2, 4, 8, 16, 32)


def bucket_of(rows: int) -> int:
    """The smallest bucket that holds `rows`; 1 ≤ rows ≤ the largest."""
    return next(bucket for bucket in BUCKETS if bucket >= rows)


def pieces(rows: int) -> list[slice]:
    """`rows` cut into the fewest runs that a bucket holds."""
    largest = BUCKETS[-1]
    return [slice(start, min(start + largest, rows)) for start in range(0, rows, largest)]
