"""A model's tensors in NumPy: all that an export needs of a network, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from architectures.sizes import DIM, HIDDEN, LAYERS, SLOTS
from service.manifest import Dimensions

MEMORY_AUGMENTED_GRU = "memory-augmented-gru"
DECAYED_MEANS = "decayed-means"

_BUFFERS = frozenset({"memory.memory", "centre", "basis", "decay"})
"""Tensors that are not trained, of either architecture."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModelWeights:
    """The tensors of a model of `architecture`, complete, in fp32, with the names of PyTorch."""

    architecture: str
    tensors: Mapping[str, NDArray[np.float32]]

    def exact(self, name: str) -> NDArray[np.float64]:
        """The tensor `name` in float64."""
        return self.tensors[name].astype(np.float64)

    @property
    def dimensions(self) -> Dimensions:
        """The width of the vectors, and the layers and width of the state."""
        if self.architecture == MEMORY_AUGMENTED_GRU:
            return Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN)
        means, width = len(self.tensors["decay"]), self.tensors["basis"].shape[1]
        return Dimensions(dim=DIM, layers=means, hidden=width)

    @property
    def trainable(self) -> int:
        """The number of trainable parameters."""
        return sum(value.size for name, value in self.tensors.items() if name not in _BUFFERS)


def gru_shapes() -> Shapes:
    """The names and shapes of a Memory-Augmented GRU's tensors."""
    gates = 3 * HIDDEN
    found: dict[str, tuple[int, ...]] = {"input_norm.weight": (DIM,), "input_norm.bias": (DIM,)}
    for layer in range(LAYERS):
        found[f"gru.weight_ih_l{layer}"] = (gates, HIDDEN if layer else 2 * DIM)
        found[f"gru.weight_hh_l{layer}"] = (gates, HIDDEN)
        found[f"gru.bias_ih_l{layer}"] = found[f"gru.bias_hh_l{layer}"] = (gates,)
    found["memory.memory"] = (SLOTS, DIM)
    linear = {
        "memory.query_proj": (DIM, HIDDEN),
        "memory.write_gate": (SLOTS, HIDDEN),
        "fusion.0": (HIDDEN, HIDDEN + DIM),
        "output_proj.0": (2 * HIDDEN, HIDDEN),
        "output_proj.3": (DIM, 2 * HIDDEN),
    }
    for name, shape in linear.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, shape[:1]
    found["fusion.3.weight"] = found["fusion.3.bias"] = (HIDDEN,)
    return found


def decayed_means_shapes(means: int, width: int) -> Shapes:
    """The names and shapes of a Decayed Means' tensors, for a state `[means, width]`."""
    return {
        "centre": (DIM,),
        "basis": (DIM, width),
        "decay": (means,),
        "scale": (means + 1,),
        "mix.weight": (width, (means + 1) * width),
        "mix.bias": (width,),
    }
