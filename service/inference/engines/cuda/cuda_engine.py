"""The engine on our own kernels: whole contexts and steps of a Memory-Augmented GRU on a GPU."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import EngineFault
from service.inference.engines.cuda.driver import CudaError, Device
from service.inference.engines.cuda.graph_weights import UnsupportedGraphError, read_weights
from service.inference.engines.cuda.gru_kernels import GruKernels
from service.inference.engines.cuda.launch_plan import group_rows
from service.inference.engines.engine import Engine
from service.manifest import Precision

logger = logging.getLogger(__name__)

Float32 = NDArray[np.float32]

BOUND = 1e-5
"""The largest difference from the exported graph with which the kernels serve."""

_CONTEXT_WIDTH = 2
"""Rows of a context's launch: four take twice as long as two."""

_CASES = ((1, 1), (1, 3), (2, 2), (33, 1), (130, 3), (500, 2))
"""Vectors and rows of the comparison at load; the rows differ in length."""


class CudaEngine:
    """One version on the kernels, in fp32. `graph` is its exported graph, on the same device."""

    concurrent = False
    precision: Precision = "fp32"

    def __init__(self, graph: Engine, kernels: GruKernels) -> None:
        self.provider = graph.provider
        self.dimensions = graph.dimensions
        self._kernels = kernels
        self._step_widths = kernels.widths
        self._context_widths = tuple(n for n in kernels.widths if n <= _CONTEXT_WIDTH)

    def run(
        self, vectors: Float32, lengths: NDArray[np.int32], state: Float32
    ) -> tuple[Float32, Float32]:
        """See `Engine.run`."""
        widths = self._step_widths if len(vectors) == 1 else self._context_widths
        predicted = np.empty(vectors.shape[1:], np.float32)
        states = np.empty_like(state)
        try:
            for rows in group_rows(lengths.tolist(), widths):
                longest = int(lengths[rows].max())
                moved, after = self._kernels.run(
                    vectors[:longest, rows], lengths[rows], state[:, rows]
                )
                # As the graph does, and torch.nn.functional.normalize.
                norms = np.linalg.norm(moved, axis=-1, keepdims=True)
                predicted[rows] = moved / np.maximum(norms, np.float32(1e-12))
                states[:, rows] = after
        except CudaError as error:
            raise EngineFault(f"the engine failed: {error}") from error
        return predicted, states


def open_cuda_engine(graph: Engine, path: Path) -> Engine:
    """`graph`, exported to `path`, on the kernels; or `graph` itself where they cannot serve it.

    They must answer within `BOUND` of it at several lengths and rows. If they do not serve,
    the log says why, once.
    """
    try:
        weights = read_weights(path, graph.dimensions)
        engine = CudaEngine(graph, GruKernels(Device(), graph.dimensions, *weights))
        difference = largest_difference(engine, graph)
    except (UnsupportedGraphError, CudaError, EngineFault) as error:
        logger.warning("%s is served by ONNX Runtime, not by the GRU kernels: %s", path, error)
        return graph
    if not difference <= BOUND:
        logger.error(
            "%s is served by ONNX Runtime: the GRU kernels differ from it by %.1e, more than %.0e",
            path,
            difference,
            BOUND,
        )
        return graph
    logger.info("%s is served by the GRU kernels, %.1e from the graph", path, difference)
    return engine


def largest_difference(engine: Engine, graph: Engine) -> float:
    """Between the two engines' vectors and states over `_CASES`; NaN if any answer has one."""
    rng = np.random.default_rng(0)
    sizes = graph.dimensions
    worst = 0.0
    for time, rows in _CASES:
        vectors = rng.standard_normal((time, rows, sizes.dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        lengths = np.array([max(1, time - 7 * row) for row in range(rows)], np.int32)
        state = rng.uniform(-1, 1, (sizes.layers, rows, sizes.hidden)).astype(np.float32)
        for ours, theirs in zip(
            engine.run(vectors, lengths, state), graph.run(vectors, lengths, state), strict=True
        ):
            worst = float(np.maximum(worst, np.abs(ours - theirs).max()))
    return worst
