"""JSON that holds vectors: parsed at bounded cost, and its numbers taken out."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import Invalid, Malformed

OTHER_VALUES = 1000
"""Names, options and the like, which a request may hold beside its vectors."""

_PIECE = 1 << 20


def loads(content: bytes | memoryview, dim: int, max_rows: int) -> Any:
    """The JSON, unless it holds more than `max_rows` vectors of `dim` and a few options.

    Counted before it is parsed: a megabyte of brackets becomes thirty of lists,
    and nothing else in the process runs while they are made. Raises `Malformed`
    or `Invalid`.
    """
    bytes_ = np.frombuffer(content, np.uint8)
    commas = lists = 0
    for at in range(0, len(bytes_), _PIECE):
        piece = bytes_[at : at + _PIECE]
        commas += int(np.count_nonzero(piece == ord(",")))
        # "[" and "{" differ in one bit.
        lists += int(np.count_nonzero((piece | 0x20) == ord("{")))
    if commas > max_rows * dim + OTHER_VALUES or lists > 2 * max_rows + OTHER_VALUES:
        raise Invalid(f"the JSON holds more than the {max_rows} vectors of {dim} allowed")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from error


def float32(nested: list[Any]) -> NDArray[np.float32]:
    """The numbers of an even, nested list, in order, as a flat array.

    What is beyond float32 becomes an Inf. Raises `ValueError` for an uneven list
    and for anything but numbers. Types are looked at before numpy sees them: it
    takes text and null for numbers, and makes room in every element for the
    longest text.
    """
    while nested and isinstance(nested[0], list):
        if set(map(type, nested)) != {list} or len(set(map(len, nested))) != 1:
            raise ValueError("rows of different lengths")
        nested = list(chain.from_iterable(nested))
    if not set(map(type, nested)) <= {int, float}:
        raise ValueError("a value that is not a number")
    with np.errstate(over="ignore"):
        return np.array(nested, np.float32)
