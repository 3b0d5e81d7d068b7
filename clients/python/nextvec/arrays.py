"""Vectors in and out: whatever holds numbers becomes float32, and back from raw bytes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextvec.errors import ResponseError

Vectors: TypeAlias = NDArray[np.float32]

VectorsLike: TypeAlias = Any
"""A NumPy array, a PyTorch tensor (on any device, of any float type), anything with `__array__`,
or nested lists of numbers."""


def as_rows(value: VectorsLike, name: str = "vectors") -> Vectors:
    """Return `value` `[n, dim]`, or one vector `[dim]`, as a new array `[n, dim]`, n ≥ 1.

    Always a copy: the caller may change its array afterwards. Raises `ValueError`.
    """
    array = _numbers(value, name)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {list(array.shape)}: give [n, dim] or [dim]")
    return np.array(array, dtype="<f4", order="C", copy=True)


def as_vector(value: VectorsLike, name: str = "vector") -> Vectors:
    """Return one vector `[dim]` or `[1, dim]` as a new array `[1, dim]`. Raises `ValueError`."""
    rows = as_rows(value, name)
    if len(rows) != 1:
        raise ValueError(f"{name} has {len(rows)} rows: give one")
    return rows


def from_bytes(content: bytes, dim: int) -> Vectors:
    """Return one vector `[dim]` of raw little-endian float32. Raises `ResponseError`."""
    if len(content) != 4 * dim:
        raise ResponseError(
            f"the answer has {len(content)} bytes, not one vector of {dim} float32: "
            "is this the address of a nextvec service?"
        )
    return np.frombuffer(content, "<f4").astype(np.float32)


def _numbers(value: VectorsLike, name: str) -> NDArray[Any]:
    if callable(getattr(value, "detach", None)):
        # A tensor of PyTorch, which may be on a GPU, need gradients, or be of a type that NumPy
        # lacks (bfloat16).
        value = value.detach().cpu().float().numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: not an array of numbers: {error}") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: has elements of type {array.dtype}, not real numbers")
    return array
