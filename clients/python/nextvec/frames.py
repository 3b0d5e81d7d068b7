"""The binary frame of `/v1/steps`, little-endian and without padding.

Request: `NVS1`, the number of rows as uint32, the rows as `REQUEST_ROW`, then the vectors as
float32 `[rows, dim]`. Answer: `NVR1`, the number of rows, the rows as `ANSWER_ROW`, then the
predicted vectors, zeros in rows that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nextvec.arrays import Vectors
from nextvec.errors import ResponseError

REQUEST_ROW = np.dtype([("session", "S128"), ("position", "<i8")])
ANSWER_ROW = np.dtype([("status", "<u4"), ("reserved", "<u4"), ("length", "<i8")])
_HEAD = 8


@dataclass(frozen=True)
class FrameRow:
    """One row of an answer. `length` is the session's, -1 if it is not known."""

    status: int
    length: int
    vector: Vectors


def encode(sessions: Sequence[str], positions: Sequence[int], vectors: Vectors) -> bytes:
    """Return the frame of a request: `vectors` `[rows, dim]`, one a session."""
    rows = np.zeros(len(sessions), REQUEST_ROW)
    rows["session"] = [session.encode("ascii") for session in sessions]
    rows["position"] = positions
    head = b"NVS1" + len(sessions).to_bytes(4, "little")
    return head + rows.tobytes() + np.ascontiguousarray(vectors, "<f4").tobytes()


def decode(content: bytes, count: int, dim: int) -> list[FrameRow]:
    """Return the `count` rows of an answer. Raises `ResponseError`."""
    begin = _HEAD + count * ANSWER_ROW.itemsize
    if (
        content[:4] != b"NVR1"
        or int.from_bytes(content[4:_HEAD], "little") != count
        or len(content) != begin + 4 * count * dim
    ):
        raise ResponseError(
            f"{len(content)} bytes are not an answer to {count} steps of {dim} float32"
        )
    rows = np.frombuffer(content, ANSWER_ROW, count, _HEAD).tolist()
    vectors = np.frombuffer(content, "<f4", count * dim, begin).reshape(count, dim)
    return [
        FrameRow(status, length, vectors[number].astype(np.float32))
        for number, (status, _, length) in enumerate(rows)
    ]
