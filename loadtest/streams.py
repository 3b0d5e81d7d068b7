"""Real streams: what callers would have sent, cut from the sample data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.types import Vectors

SAMPLE = Path(__file__).parent / "data" / "sample.npz"
"""A held-out stretch of the corpus that the shipped versions were not trained on."""

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
    """The streams in an `.npz` of `vectors_int8` `[n, dim]` and `scale` `[n]`.

    A vector is `normalise(vectors_int8 * scale)`. Raises `StreamError`.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            quantised, scale = data["vectors_int8"], data["scale"]
    except FileNotFoundError as error:
        raise StreamError(f"{path}: no such file; name another with --data") from error
    except KeyError as error:
        raise StreamError(f"{path}: no array {error}; needs vectors_int8 and scale") from error
    except (OSError, ValueError) as error:
        raise StreamError(f"{path}: not a readable .npz file: {error}") from error
    if quantised.ndim != 2 or scale.shape != quantised.shape[:1] or len(scale) == 0:
        raise StreamError(
            f"{path}: vectors_int8 {list(quantised.shape)} and scale {list(scale.shape)} "
            "do not fit; needs [n, dim] and [n], n > 0"
        )
    rows = quantised.astype(np.float32) * scale.astype(np.float32)[:, None]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise StreamError(f"{path}: a row is zero or not finite")
    return Streams(np.ascontiguousarray(rows / norms, dtype="<f4"))
