"""Folds a model's constants into the weights that inference multiplies by.

Dropout and `memory.write_gate` are not used in inference. The affine parameters of a LayerNorm
move into the linear layer after it. All products are computed in float64 and rounded to float32
at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from architectures.model_weights import ModelWeights
from architectures.sizes import DIM, EPSILON, HIDDEN, LAYERS, SMALLEST_NORM

Float32 = NDArray[np.float32]
_Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class GRULayer:
    """One layer in ONNX's form, with the gates stacked update, reset, new (z, r, h).

    `w` `[1, 3 hidden, inputs]`, `r` `[1, 3 hidden, hidden]`, `b` `[1, 6 hidden]`
    (the biases of the input, then of the recurrence).
    """

    w: Float32
    r: Float32
    b: Float32


@dataclass(frozen=True)
class Linear:
    """`x @ weight + bias`: `weight` `[inputs, outputs]`, `bias` `[outputs]`."""

    weight: Float32
    bias: Float32


@dataclass(frozen=True)
class FoldedWeights:
    """The weights of one inference step.

    - `query`: the memory query, needed only for its length.
    - `scores`: the product of the query with every normalised slot.
    - `content` `[slots, hidden]`: the fusion layer's projection of each slot.
    - `fusion`: the fusion layer's half for the GRU's output.
    - `expand` and `output`: the two layers of the head.
    """

    gru: tuple[GRULayer, ...]
    query: Linear
    scores: Linear
    content: Float32
    fusion: Linear
    expand: Linear
    output: Linear
    input_epsilon: float
    fusion_epsilon: float


def fold(weights: ModelWeights) -> FoldedWeights:
    """Fold the constants of a Memory-Augmented GRU."""
    exact = weights.exact
    memory, query = exact("memory.memory"), exact("memory.query_proj.weight")
    slots = normalise(memory)
    fuse, scale = exact("fusion.0.weight"), exact("fusion.3.weight")
    expand = exact("output_proj.0.weight")
    query_bias = exact("memory.query_proj.bias")
    return FoldedWeights(
        gru=tuple(_gru_layers(weights)),
        query=_linear(query.T, query_bias),
        scores=_linear((slots @ query).T, slots @ query_bias),
        content=_float32(memory @ fuse[:, HIDDEN:].T),
        fusion=_linear(fuse[:, :HIDDEN].T, exact("fusion.0.bias")),
        expand=_linear(
            (expand * scale).T, exact("output_proj.0.bias") + expand @ exact("fusion.3.bias")
        ),
        output=_linear(exact("output_proj.3.weight").T, exact("output_proj.3.bias")),
        input_epsilon=EPSILON,
        fusion_epsilon=EPSILON,
    )


def normalise(rows: _Float64) -> _Float64:
    """Unit rows, as `torch.nn.functional.normalize`."""
    unit: _Float64 = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), SMALLEST_NORM)
    return unit


def constant_content(weights: ModelWeights) -> _Float64:
    """What the memory returns to the first layer: its query has no input, so it is constant."""
    memory = weights.exact("memory.memory")
    cosines = normalise(weights.exact("memory.query_proj.bias")[None]) @ normalise(memory).T
    attention = np.exp(cosines - cosines.max())
    content: _Float64 = ((attention / attention.sum()) @ memory)[0]
    return content


def _gru_layers(weights: ModelWeights) -> Iterator[GRULayer]:
    for layer in range(LAYERS):
        w, r, input_bias, bias = (
            weights.exact(f"gru.{name}_l{layer}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        if layer == 0:
            # The input is [scale * normed + shift, content], where shift and content are constants.
            shift = weights.exact("input_norm.bias")
            input_bias = input_bias + w[:, :DIM] @ shift + w[:, DIM:] @ constant_content(weights)
            w = w[:, :DIM] * weights.exact("input_norm.weight")
        biases = np.concatenate([_onnx_gates(input_bias), _onnx_gates(bias)])
        yield GRULayer(
            w=_float32(_onnx_gates(w)[None]),
            r=_float32(_onnx_gates(r)[None]),
            b=_float32(biases[None]),
        )


def _onnx_gates(stacked: _Float64) -> _Float64:
    """Reorder gates from PyTorch's order (reset, update, new) to ONNX's (update, reset, new)."""
    reset, update, new = np.split(stacked, 3)
    return np.concatenate([update, reset, new])


def _linear(weight: _Float64, bias: _Float64) -> Linear:
    return Linear(_float32(weight), _float32(bias))


def _float32(exact: _Float64) -> Float32:
    return np.ascontiguousarray(exact, dtype=np.float32)
