"""Checkpoint files as PyTorch models: read strictly, written as fp16 safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save as serialise

from architectures import weights_file
from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from architectures.model import NextVectorModel
from architectures.model_weights import ModelWeights
from architectures.weights_file import ARCHITECTURE, CheckpointError, metadata

__all__ = ["CheckpointError", "load", "metadata", "restore", "save"]


def load(path: Path) -> NextVectorModel:
    """Load the model in `path`, in fp32 and in evaluation mode. Raises as `weights_file.load`."""
    return restore(weights_file.load(path))


def restore(weights: ModelWeights) -> NextVectorModel:
    """The network with `weights`, in evaluation mode."""
    model: NextVectorModel
    if weights.architecture == DecayedMeans.ARCHITECTURE:
        sizes = weights.dimensions
        model = DecayedMeans([0.0] * sizes.layers, sizes.hidden)
    else:
        model = MemoryAugmentedGRU()
    tensors = {name: torch.from_numpy(value) for name, value in weights.tensors.items()}
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def save(model: NextVectorModel, path: Path, metadata: dict[str, str]) -> None:
    """Write `model` to `path` as fp16 safetensors, atomically, with its architecture's name.

    The same model and metadata give the same file, byte for byte.
    """
    metadata = {ARCHITECTURE: model.ARCHITECTURE, **metadata}
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
