"""Checkpoint files: strict in, fp16 safetensors out."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model_export.architecture import MemoryAugmentedGRU


class CheckpointError(Exception):
    """The file is not a checkpoint of the Memory-Augmented GRU; says why."""


def load(path: Path) -> MemoryAugmentedGRU:
    """The model in `path`, in fp32 and in evaluation mode.

    Raises `CheckpointError`, naming the key, when the file is damaged, foreign,
    or a key is missing, extra, misshapen or not finite.
    """
    tensors = _read(path)
    model = MemoryAugmentedGRU()
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    _check_keys(path, expected, tensors)
    model.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True)
    return model.eval()


def save(model: MemoryAugmentedGRU, path: Path, metadata: dict[str, str]) -> None:
    """Write `model` to `path` as fp16 safetensors, atomically."""
    tensors = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, metadata=metadata)
    partial.replace(path)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, ValueError, OSError) as error:
            raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
    if path.suffix != ".pt":
        raise CheckpointError(f"{path}: a checkpoint ends in .pt or .safetensors")
    try:
        # weights_only: a checkpoint must not be able to run code.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable .pt file: {reason}") from error
    if not isinstance(content, dict) or not isinstance(content.get("model_state_dict"), dict):
        raise CheckpointError(f"{path}: a .pt checkpoint is a dict with 'model_state_dict'")
    tensors = content["model_state_dict"]
    for key, value in tensors.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: model_state_dict[{key!r}] is not a tensor")
    return dict(tensors)


def _check_keys(
    path: Path, expected: dict[str, tuple[int, ...]], tensors: dict[str, Tensor]
) -> None:
    if missing := sorted(expected.keys() - tensors.keys()):
        raise CheckpointError(f"{path}: missing {', '.join(missing)}")
    if extra := sorted(tensors.keys() - expected.keys()):
        raise CheckpointError(f"{path}: unexpected {', '.join(extra)}")
    for key, shape in expected.items():
        value = tensors[key]
        if tuple(value.shape) != shape:
            raise CheckpointError(f"{path}: {key} has shape {list(value.shape)}, not {list(shape)}")
        if not value.is_floating_point() or not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {key} has values that are not finite floats")
