"""Real streams: what callers would have sent, cut from the sample data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpora.corpus import CorpusError
from corpora.sample import SAMPLE, load_vectors
from service.types import Vectors

__all__ = ["SAMPLE", "StreamError", "Streams", "load"]

_STRIDE = 997
"""Rows between the offsets of two neighbouring callers; a prime, so that it
divides no usual length and callers spread over the whole stretch."""


class StreamError(Exception):
    """The sample data cannot be read; says why."""


@dataclass(frozen=True)
class Streams:
    """`vectors` `[n, dim]` float32 of unit length, read as a ring.

    Everything is a function of the caller's number and of how far it has read,
    so that two runs send the same bytes.
    """

    vectors: Vectors

    def offset(self, caller: int) -> int:
        """The row at which caller number `caller` begins."""
        return (caller * _STRIDE) % len(self.vectors)

    def read(self, caller: int, start: int, count: int) -> Vectors:
        """`count` vectors of `caller` from its row `start` on: `[count, dim]`, contiguous.

        A view where it can be: a long context is megabytes, and copying it would
        be charged to the latency of whatever is sent next.
        """
        first = (self.offset(caller) + start) % len(self.vectors)
        if first + count <= len(self.vectors):
            return self.vectors[first : first + count]
        rows = np.arange(first, first + count) % len(self.vectors)
        return self.vectors[rows]


def load(path: Path = SAMPLE) -> Streams:
    """The streams of an `.npz` file; see `corpora.sample.load_vectors`. Raises `StreamError`."""
    try:
        return Streams(load_vectors(path))
    except CorpusError as error:
        raise StreamError(str(error)) from error
