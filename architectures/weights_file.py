"""Checkpoint files, read strictly into NumPy. Only a `.pt` file needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from architectures.model_weights import (
    DECAYED_MEANS,
    MEMORY_AUGMENTED_GRU,
    ModelWeights,
    Shapes,
    decayed_means_shapes,
    gru_shapes,
)
from architectures.sizes import DIM

ARCHITECTURE = "architecture"
"""Metadata key. A checkpoint without it holds a Memory-Augmented GRU."""

LARGEST_STATE = 64
"""The most means of a checkpoint: each adds a vector to the state of every session."""

_NO_TORCH = (
    "a .pt file is read with PyTorch, which is not installed: install the extra `training`, or "
    "convert the file to .safetensors"
)

Tensors = Mapping[str, NDArray[Any]]


class CheckpointError(Exception):
    """The file is not a checkpoint of a known architecture; the message says why."""


def load(path: Path) -> ModelWeights:
    """Read the tensors in `path`, in fp32.

    Raises `CheckpointError` if the file is damaged or holds anything but tensors, or if a key is
    missing, unexpected, of the wrong shape or not finite; the message names the key.
    """
    tensors = _read(path)
    architecture = metadata(path).get(ARCHITECTURE, MEMORY_AUGMENTED_GRU)
    expected = _expected(path, architecture, tensors)
    return ModelWeights(architecture, _check_tensors(path, expected, tensors))


def metadata(path: Path) -> dict[str, str]:
    """The metadata that was stored with the weights; empty for a `.pt` file.

    Raises `CheckpointError` if the file is damaged.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


def _expected(path: Path, architecture: str, tensors: Tensors) -> Shapes:
    if architecture == MEMORY_AUGMENTED_GRU:
        return gru_shapes()
    if architecture == DECAYED_MEANS:
        return decayed_means_shapes(*_sizes(path, tensors))
    known = f"{MEMORY_AUGMENTED_GRU} and {DECAYED_MEANS}"
    raise CheckpointError(f"{path}: its architecture is {architecture!r}; known are {known}")


def _sizes(path: Path, tensors: Tensors) -> tuple[int, int]:
    """The number of means and their width. The other tensors are checked against them."""
    blank = np.empty(0)
    decay, basis = tensors.get("decay", blank), tensors.get("basis", blank)
    if decay.ndim != 1 or not 1 <= len(decay) <= LARGEST_STATE:
        raise CheckpointError(
            f"{path}: decay has shape {list(decay.shape)}, not [1..{LARGEST_STATE}]"
        )
    if basis.ndim != 2 or not 1 <= basis.shape[1] <= DIM:
        raise CheckpointError(f"{path}: basis has shape {list(basis.shape)}, not [{DIM}, 1..{DIM}]")
    return len(decay), basis.shape[1]


def _read(path: Path) -> Tensors:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix != ".pt":
        raise CheckpointError(f"{path}: the name of a checkpoint ends in .pt or .safetensors")
    try:
        from architectures import pickled_checkpoint  # noqa: PLC0415  PyTorch, for this alone
    except ModuleNotFoundError as error:
        raise CheckpointError(f"{path}: {_NO_TORCH}") from error
    return pickled_checkpoint.read(path)


def _read_safetensors(path: Path) -> Tensors:
    try:
        with safe_open(path, framework="np") as file:
            return {key: _tensor(file, key) for key in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


def _tensor(file: Any, key: str) -> NDArray[Any]:
    tensor: NDArray[Any] = file.get_tensor(key)
    return tensor


def _check_tensors(
    path: Path, expected: Shapes, tensors: Tensors
) -> dict[str, NDArray[np.float32]]:
    """The tensors in fp32. Raises `CheckpointError` if they are not the expected ones."""
    if missing := sorted(expected.keys() - tensors.keys()):
        raise CheckpointError(f"{path}: missing {', '.join(missing)}")
    if extra := sorted(tensors.keys() - expected.keys()):
        raise CheckpointError(f"{path}: unexpected {', '.join(extra)}")
    checked = {}
    for key, shape in expected.items():
        value = tensors[key]
        if value.shape != shape:
            raise CheckpointError(f"{path}: {key} has shape {list(value.shape)}, not {list(shape)}")
        if not np.issubdtype(value.dtype, np.floating):
            raise CheckpointError(f"{path}: {key} is not a dense tensor of floats")
        with np.errstate(over="ignore"):  # infinite then, which is refused below
            checked[key] = np.ascontiguousarray(value, np.float32)
        if not np.isfinite(checked[key]).all():
            raise CheckpointError(f"{path}: {key} has values that are NaN or infinite in fp32")
    return checked
