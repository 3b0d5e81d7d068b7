"""The weights of an exported Memory-Augmented GRU, read from its graph.

The exporter folds constants into the weights (`model_export.weight_folding`); the kernels
multiply by the folded weights. This module finds them by name. It does not check the
graph's operators: the engine compares the results of kernels and graph at load.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.manifest import Dimensions

Float32 = NDArray[np.float32]

_ALIGNMENT = 128
"""A warp reads a row in whole float4s: 32 lanes of 4 floats."""


class UnsupportedGraphError(Exception):
    """The kernels cannot run this graph. ONNX Runtime can."""


@dataclass(frozen=True)
class GruWeights:
    """The weights of the recurrent layers, with gates in PyTorch's order: reset, update, new.

    `w0` `[3 hidden, dim]` multiplies the input of layer 0, `w` `[layers, 3 hidden, hidden]`
    that of the other layers (zeros for layer 0), `u` `[layers, 3 hidden, hidden]` the state.
    `bi` and `bh` `[layers, 3 hidden]` are the biases of input and state. `epsilon` belongs to
    the LayerNorm of the input.
    """

    w0: Float32
    w: Float32
    u: Float32
    bi: Float32
    bh: Float32
    epsilon: float


@dataclass(frozen=True)
class HeadWeights:
    """The weights of the head, each `[outputs, inputs]`.

    `first` and `first_bias` stack three layers that read the state: the memory's query, the
    query's products with the slots, and the state's part of the fusion layer. `content`
    `[hidden, slots]` holds the slots' contribution to the fusion layer.
    """

    first: Float32
    first_bias: Float32
    content: Float32
    expand: Float32
    expand_bias: Float32
    output: Float32
    output_bias: Float32
    epsilon: float

    @property
    def slots(self) -> int:
        """The number of memory slots."""
        return int(self.content.shape[1])

    @property
    def expanded(self) -> int:
        """The number of units between the two output layers."""
        return int(self.expand.shape[0])


def read_weights(path: Path, sizes: Dimensions) -> tuple[GruWeights, HeadWeights]:
    """Read the weights of the graph at `path`. Raises `UnsupportedGraphError`."""
    try:
        import onnx  # noqa: PLC0415  installed with the extra `cuda`
        from onnx import numpy_helper  # noqa: PLC0415  as above
    except ImportError as error:
        raise UnsupportedGraphError(
            f"{error}: install the package with its extra 'cuda'"
        ) from error
    graph = onnx.load(str(path)).graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    epsilons = {
        node.output[0]: attribute.f
        for node in graph.node
        for attribute in node.attribute
        if node.op_type == "LayerNormalization" and attribute.name == "epsilon"
    }

    def get(name: str, *shape: int) -> Float32:
        if name not in initializers:
            raise UnsupportedGraphError(f"{path.name} has no weight {name}")
        array = np.asarray(numpy_helper.to_array(initializers[name]))
        if array.dtype != np.float32 or (shape and array.shape != shape):
            raise UnsupportedGraphError(
                f"{path.name}: {name} is {array.dtype} {array.shape}, not float32 {shape}"
            )
        return array

    def rows(name: str) -> Float32:
        return np.ascontiguousarray(get(f"{name}_weight").T)

    dim, hidden, layers = sizes.dim, sizes.hidden, sizes.layers
    w0, w, u, bi, bh = [], [], [], [], []
    for layer in range(layers):
        inputs = hidden if layer else dim
        kernel = _gates(get(f"gru_{layer}_w", 1, 3 * hidden, inputs)[0])
        w0.append(kernel) if layer == 0 else w.append(kernel)
        u.append(_gates(get(f"gru_{layer}_r", 1, 3 * hidden, hidden)[0]))
        bias = get(f"gru_{layer}_b", 1, 6 * hidden)[0]
        bi.append(_gates(bias[: 3 * hidden]))
        bh.append(_gates(bias[3 * hidden :]))
    gru = GruWeights(
        w0[0],
        np.stack([np.zeros((3 * hidden, hidden), np.float32), *w]),
        np.stack(u),
        np.stack(bi),
        np.stack(bh),
        _epsilon(epsilons, "normed"),
    )
    head = HeadWeights(
        np.concatenate([rows("query"), rows("products"), rows("fusion")]),
        np.concatenate([get("query_bias"), get("products_bias"), get("fusion_bias")]),
        np.ascontiguousarray(get("content").T),
        rows("expand"),
        get("expand_bias"),
        rows("step"),
        get("step_bias"),
        _epsilon(epsilons, "fused_normed"),
    )
    widths = {"dim": dim, "hidden": hidden, "slots": head.slots, "expanded": head.expanded}
    for name, width in widths.items():
        if width % _ALIGNMENT:
            raise UnsupportedGraphError(f"{name} is {width}, not a multiple of {_ALIGNMENT}")
    if dim < hidden:
        raise UnsupportedGraphError(f"dim {dim} is smaller than hidden {hidden}")
    return gru, head


def _epsilon(epsilons: dict[str, float], output: str) -> float:
    if output not in epsilons:
        raise UnsupportedGraphError(f"the graph has no LayerNormalization {output}")
    return epsilons[output]


def _gates(stacked: Float32) -> Float32:
    """Reorder gates from ONNX's order (update, reset, new) to PyTorch's (reset, update, new)."""
    update, reset, new = np.split(stacked, 3)
    return np.concatenate([reset, update, new])
