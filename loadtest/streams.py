"""Streams of real vectors for the callers, cut from the sample data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpora.corpus import CorpusError
from corpora.sample import SAMPLE, load_vectors
from service.types import Vectors

__all__ = ["SAMPLE", "StreamError", "Streams", "load"]

_STRIDE = 997
"""Rows between the offsets of two neighbouring callers. A prime that divides no usual
length, so that the callers spread over the whole sample."""


class StreamError(Exception):
    """The sample data cannot be read. The message says why."""


@dataclass(frozen=True)
class Streams:
    """`vectors` is `[n, dim]` float32 of unit length, and is read as a ring.

    A read depends only on the number of the caller and its position, so two runs send the
    same bytes.
    """

    vectors: Vectors

    def offset(self, caller: int) -> int:
        """The first row of caller number `caller`."""
        return (caller * _STRIDE) % len(self.vectors)

    def read(self, caller: int, start: int, count: int) -> Vectors:
        """`count` vectors of `caller` from its row `start`: `[count, dim]`, contiguous.

        A view unless the ring wraps: copying the megabytes of a long context would add to
        the latency of the next request.
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
