"""Checkpoints that `torch.save` has written (`.pt`), read without running any code in them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from architectures.weights_file import CheckpointError


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors under `model_state_dict`. Raises `CheckpointError`."""
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
    return {key: _array(path, key, value) for key, value in tensors.items()}


def _array(path: Path, key: str, value: Tensor) -> NDArray[Any]:
    if value.layout is not torch.strided:
        raise CheckpointError(f"{path}: {key} is not a dense tensor of floats")
    if value.dtype == torch.bfloat16:  # which NumPy lacks
        value = value.float()
    return np.asarray(value.detach())
