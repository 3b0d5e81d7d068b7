"""Numbers out of parsed JSON."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
