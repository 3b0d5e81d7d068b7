"""Folds a model's constants into the weights that inference multiplies by.

Dropout and `memory.write_gate` are not used in inference. The affine parameters of a LayerNorm
move into the linear layer after it. All products are computed in float64 and rounded to float32
at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, MemoryAugmentedGRU

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


def fold(model: MemoryAugmentedGRU) -> FoldedWeights:
    """Fold the constants of `model`, which is not changed."""
    exact = copy.deepcopy(model).double().eval()
    memory = exact.memory
    fuse, norm = exact.fusion[0], exact.fusion[3]
    expand, output = exact.output_proj[0], exact.output_proj[3]
    assert isinstance(fuse, nn.Linear)
    assert isinstance(norm, nn.LayerNorm)
    assert isinstance(expand, nn.Linear)
    assert isinstance(output, nn.Linear)
    with torch.no_grad():
        slots = nn.functional.normalize(memory.memory, dim=-1)
        query = memory.query_proj
        return FoldedWeights(
            gru=tuple(_gru_layers(exact)),
            query=_linear(query.weight.T, query.bias),
            scores=_linear((slots @ query.weight).T, slots @ query.bias),
            content=_float32(memory.memory @ fuse.weight[:, HIDDEN:].T),
            fusion=_linear(fuse.weight[:, :HIDDEN].T, fuse.bias),
            expand=_linear(
                (expand.weight * norm.weight).T, expand.bias + expand.weight @ norm.bias
            ),
            output=_linear(output.weight.T, output.bias),
            input_epsilon=exact.input_norm.eps,
            fusion_epsilon=norm.eps,
        )


def _gru_layers(exact: MemoryAugmentedGRU) -> Iterator[GRULayer]:
    for layer in range(LAYERS):
        w, r, input_bias, bias = (
            getattr(exact.gru, f"{name}_l{layer}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        if layer == 0:
            # The input is [scale * normed + shift, content], where shift and content are constants.
            content = exact.memory.read(w.new_zeros(HIDDEN))
            input_bias = input_bias + w[:, :DIM] @ exact.input_norm.bias + w[:, DIM:] @ content
            w = w[:, :DIM] * exact.input_norm.weight
        biases = torch.cat([_onnx_gates(input_bias), _onnx_gates(bias)])
        yield GRULayer(
            w=_float32(_onnx_gates(w)[None]),
            r=_float32(_onnx_gates(r)[None]),
            b=_float32(biases[None]),
        )


def _onnx_gates(stacked: torch.Tensor) -> torch.Tensor:
    """Reorder gates from PyTorch's order (reset, update, new) to ONNX's (update, reset, new)."""
    reset, update, new = stacked.chunk(3)
    return torch.cat([update, reset, new])


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> Linear:
    return Linear(_float32(weight), _float32(bias))


def _float32(exact: torch.Tensor) -> Float32:
    array: _Float64 = exact.numpy()
    return np.ascontiguousarray(array, dtype=np.float32)
