"""Checkpoint files: read strictly, written as fp16 safetensors."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import DIM, MemoryAugmentedGRU
from architectures.model import NextVectorModel

_ARCHITECTURE = "architecture"
"""Metadata key. A checkpoint without it holds a Memory-Augmented GRU."""

LARGEST_STATE = 64
"""The most means of a checkpoint: each adds a vector to the state of every session."""


class CheckpointError(Exception):
    """The file is not a checkpoint of a known architecture; the message says why."""


def load(path: Path) -> NextVectorModel:
    """Load the model in `path`, in fp32 and in evaluation mode.

    Raises `CheckpointError` if the file is damaged or holds anything but tensors, or if a key is
    missing, unexpected, of the wrong shape or not finite; the message names the key.
    """
    tensors = _read(path)
    model = _build_untrained(path, tensors)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(_check_tensors(path, expected, tensors), strict=True)
    return model.eval()


def metadata(path: Path) -> dict[str, str]:
    """The metadata that `save` stored with the weights; empty for a `.pt` file.

    Raises `CheckpointError` if the file is damaged.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


def save(model: NextVectorModel, path: Path, metadata: dict[str, str]) -> None:
    """Write `model` to `path` as fp16 safetensors, atomically, with its architecture's name.

    The same model and metadata give the same file, byte for byte.
    """
    metadata = {_ARCHITECTURE: model.ARCHITECTURE, **metadata}
    tensors = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(_with_sorted_metadata(serialise(tensors, metadata=metadata)))
    partial.replace(path)


def _with_sorted_metadata(file: bytes) -> bytes:
    """Sort the metadata of a safetensors file, whose order the library leaves undefined.

    Format: the header's length in eight bytes, the header in JSON, padded with spaces to a
    multiple of eight, then the tensors.
    """
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[end:]


def _build_untrained(path: Path, tensors: dict[str, Tensor]) -> NextVectorModel:
    """An untrained model of the architecture that `path` names, with the sizes of its tensors."""
    name = metadata(path).get(_ARCHITECTURE, MemoryAugmentedGRU.ARCHITECTURE)
    if name == MemoryAugmentedGRU.ARCHITECTURE:
        return MemoryAugmentedGRU()
    if name == DecayedMeans.ARCHITECTURE:
        means, width = _sizes(path, tensors)
        return DecayedMeans([0.0] * means, width)
    known = f"{MemoryAugmentedGRU.ARCHITECTURE} and {DecayedMeans.ARCHITECTURE}"
    raise CheckpointError(f"{path}: its architecture is {name!r}; known are {known}")


def _sizes(path: Path, tensors: dict[str, Tensor]) -> tuple[int, int]:
    """The number of means and their width. The other tensors are checked against them."""
    blank = torch.empty(0)
    decay, basis = tensors.get("decay", blank), tensors.get("basis", blank)
    if decay.ndim != 1 or not 1 <= len(decay) <= LARGEST_STATE:
        raise CheckpointError(
            f"{path}: decay has shape {list(decay.shape)}, not [1..{LARGEST_STATE}]"
        )
    if basis.ndim != 2 or not 1 <= basis.shape[1] <= DIM:
        raise CheckpointError(f"{path}: basis has shape {list(basis.shape)}, not [{DIM}, 1..{DIM}]")
    return len(decay), basis.shape[1]


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, ValueError, OSError) as error:
            raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
    if path.suffix != ".pt":
        raise CheckpointError(f"{path}: the name of a checkpoint ends in .pt or .safetensors")
    try:
        with warnings.catch_warnings(action="ignore"):  # the error below says it all
            # weights_only: a checkpoint must not be able to run code.
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: not a plain .pt file: it is damaged, or holds more than tensors and "
            "could run code; save a dict of tensors under 'model_state_dict'"
        ) from error
    # A damaged archive raises whatever its parser meets first.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable .pt file: {reason}") from error
    if not isinstance(content, dict) or not isinstance(content.get("model_state_dict"), dict):
        raise CheckpointError(f"{path}: a .pt checkpoint must be a dict with 'model_state_dict'")
    tensors = content["model_state_dict"]
    for key, value in tensors.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: model_state_dict[{key!r}] is not a tensor")
    return dict(tensors)


def _check_tensors(
    path: Path, expected: dict[str, tuple[int, ...]], tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors in fp32. Raises `CheckpointError` if they are not the expected ones."""
    if missing := sorted(expected.keys() - tensors.keys()):
        raise CheckpointError(f"{path}: missing {', '.join(missing)}")
    if extra := sorted(tensors.keys() - expected.keys()):
        raise CheckpointError(f"{path}: unexpected {', '.join(extra)}")
    checked = {}
    for key, shape in expected.items():
        value = tensors[key]
        if tuple(value.shape) != shape:
            raise CheckpointError(f"{path}: {key} has shape {list(value.shape)}, not {list(shape)}")
        if not value.is_floating_point() or value.layout is not torch.strided:
            raise CheckpointError(f"{path}: {key} is not a dense tensor of floats")
        checked[key] = value.float()
        if not bool(torch.isfinite(checked[key]).all()):
            raise CheckpointError(f"{path}: {key} has values that are NaN or infinite in fp32")
    return checked
