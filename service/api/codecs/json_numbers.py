"""JSON with vectors: parsing at bounded cost, and conversion of its numbers to float32."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.api.codecs import json_names
from service.errors import Invalid, Malformed

OTHER_VALUES = 1000
"""Values, such as names and options, that a request may contain besides its vectors."""

_PIECE = 1 << 20

_SLICE = 8192
"""Numbers that are converted at a time: the interpreter's lock is held for a slice only."""


def loads(content: bytes | memoryview, dim: int, max_rows: int) -> Any:
    """Parse JSON of at most `max_rows` vectors of `dim` values and a few options.

    Values are counted before parsing: a megabyte of brackets would become thirty
    megabytes of lists, and the parser holds the interpreter meanwhile. A name that is given
    twice is an error. Raises `Malformed` or `Invalid`.
    """
    bytes_ = np.frombuffer(content, np.uint8)
    commas = lists = 0
    for at in range(0, len(bytes_), _PIECE):
        piece = bytes_[at : at + _PIECE]
        commas += int(np.count_nonzero(piece == ord(",")))
        # "[" and "{" differ in one bit.
        lists += int(np.count_nonzero((piece | 0x20) == ord("{")))
    if commas > max_rows * dim + OTHER_VALUES or lists > 2 * max_rows + OTHER_VALUES:
        raise Invalid(f"the JSON contains more than the {max_rows} vectors of {dim} allowed")
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from error
    json_names.check_once(content, parsed)
    return parsed


def float32(nested: list[Any]) -> NDArray[np.float32]:
    """Return the numbers of a regular nested list as a flat array.

    A number beyond float32 becomes Inf. Raises `ValueError` for an irregular list and
    for anything but numbers. Types are checked before numpy converts them: numpy
    accepts text and null, and would reserve the longest text's size for every element.
    """
    while nested and isinstance(nested[0], list):
        if set(map(type, nested)) != {list} or len(set(map(len, nested))) != 1:
            raise ValueError("rows of different lengths")
        nested = list(chain.from_iterable(nested))
    numbers = np.empty(len(nested), np.float32)
    for at in range(0, len(nested), _SLICE):
        piece = nested[at : at + _SLICE]
        if not set(map(type, piece)) <= {int, float}:
            raise ValueError("a value that is not a number")
        with np.errstate(over="ignore"):
            numbers[at : at + _SLICE] = piece
    return numbers
