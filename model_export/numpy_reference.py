"""The networks in NumPy and float64: what a graph is compared with without PyTorch.

Written from the definitions of the networks, step by step and unfolded, so that it shares no
shortcut with the graphs. The tests compare it with PyTorch.
"""

from __future__ import annotations

from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from architectures.model_weights import DECAYED_MEANS, ModelWeights
from architectures.sizes import DIM, EPSILON, HIDDEN, LAYERS, SMALLEST_NORM
from service.types import Vectors

Array = NDArray[np.float64]
_erf = np.frompyfunc(erf, 1, 1)


class NumpyReference:
    """A model that predicts as `NextVectorModel.predict` does."""

    name = "NumPy in float64"

    def __init__(self, weights: ModelWeights) -> None:
        self._weights = weights
        self._exact = {name: weights.exact(name) for name in weights.tensors}

    def predict(self, vectors: Vectors, state: NDArray[Any] | None) -> tuple[Array, Array]:
        """Predict the unit vector after the last of `vectors` `[time, batch, dim]`.

        Returns it, `[batch, dim]`, and the state `[layers, batch, hidden]`. Without a state, starts
        cold.
        """
        sizes = self._weights.dimensions
        if state is None:
            state = np.zeros((sizes.layers, vectors.shape[1], sizes.hidden))
        given = vectors.astype(np.float64)
        if self._weights.architecture == DECAYED_MEANS:
            return self._decayed_means(given, state)
        return self._gru(given, state)

    def _gru(self, vectors: Array, state: Array) -> tuple[Array, Array]:
        content = self._read(np.zeros((1, HIDDEN)))
        normed = self._layer_norm(vectors, "input_norm")
        spread = np.broadcast_to(content[0], (*vectors.shape[:2], DIM))
        sequence = np.concatenate([normed, spread], axis=-1)
        ends = []
        for layer in range(LAYERS):
            sequence = self._gru_layer(layer, sequence, state[layer])
            ends.append(sequence[-1])
        hidden = sequence[-1]
        joined = np.concatenate([hidden, self._read(hidden)], axis=-1)
        fused = self._layer_norm(_gelu(self._linear(joined, "fusion.0")), "fusion.3")
        wide = _gelu(self._linear(fused, "output_proj.0"))
        step = self._linear(wide, "output_proj.3")
        return _normalise(vectors[-1] + step), np.stack(ends)

    def _gru_layer(self, layer: int, sequence: Array, hidden: Array) -> Array:
        """Run one layer: Cho et al. 2014 in PyTorch's form, gates reset, update, new."""
        arriving = (
            sequence @ self._exact[f"gru.weight_ih_l{layer}"].T
            + self._exact[f"gru.bias_ih_l{layer}"]
        )
        weight = np.ascontiguousarray(self._exact[f"gru.weight_hh_l{layer}"].T)
        bias = self._exact[f"gru.bias_hh_l{layer}"]
        passed = np.empty((*sequence.shape[:2], HIDDEN))
        for time, given in enumerate(arriving):
            own = hidden @ weight + bias
            gates = _sigmoid(given[:, : 2 * HIDDEN] + own[:, : 2 * HIDDEN])
            reset, update = gates[:, :HIDDEN], gates[:, HIDDEN:]
            new = np.tanh(given[:, 2 * HIDDEN :] + reset * own[:, 2 * HIDDEN :])
            hidden = (1 - update) * new + update * hidden
            passed[time] = hidden
        return passed

    def _read(self, hidden: Array) -> Array:
        """Read the memory: softmax over the cosines of the query with every slot."""
        memory = self._exact["memory.memory"]
        cosines = _normalise(self._linear(hidden, "memory.query_proj")) @ _normalise(memory).T
        attention = np.exp(cosines - cosines.max(axis=-1, keepdims=True))
        read: Array = attention / attention.sum(axis=-1, keepdims=True) @ memory
        return read

    def _decayed_means(self, vectors: Array, means: Array) -> tuple[Array, Array]:
        basis, decay = self._exact["basis"], self._exact["decay"][:, None, None]
        seen = (vectors - self._exact["centre"]) @ basis
        for view in seen:
            means = decay * means + (1 - decay) * view
        units = _normalise(np.concatenate([seen[-1:], means])).transpose(1, 0, 2)
        weighted = (self._exact["scale"][:, None] * units).sum(axis=1)
        mixed = weighted + self._linear(units.reshape(len(units), -1), "mix")
        return _normalise(mixed @ basis.T), means

    def _linear(self, value: Array, module: str) -> Array:
        result: Array = value @ self._exact[f"{module}.weight"].T + self._exact[f"{module}.bias"]
        return result

    def _layer_norm(self, value: Array, module: str) -> Array:
        centred = value - value.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normed = centred / np.sqrt(variance + EPSILON)
        result: Array = normed * self._exact[f"{module}.weight"] + self._exact[f"{module}.bias"]
        return result


def _normalise(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Array = rows / np.maximum(lengths, SMALLEST_NORM)
    return unit


def _sigmoid(value: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * value))  # without an overflow


def _gelu(value: Array) -> Array:
    result: Array = 0.5 * value * (1 + _erf(value / np.sqrt(2)).astype(np.float64))
    return result
