"""The engine on our own kernels: whole contexts and steps of a Memory-Augmented GRU on a GPU."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import EngineFault
from service.inference.engines.cuda.driver import CudaDevice, CudaError
from service.inference.engines.cuda.graph_weights import UnsupportedGraphError, read_weights
from service.inference.engines.cuda.gru_kernels import ContextLauncher, GruKernels, StepLauncher
from service.inference.engines.cuda.launch_plan import group_rows
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import OnnxEngine
from service.manifest import Dimensions, Precision

logger = logging.getLogger(__name__)

Float32 = NDArray[np.float32]

BOUND = 1e-5
"""The largest difference from the exported graph with which the kernels serve."""

_CONTEXT_WIDTH = 2
"""Contexts side by side: four take twice as long as two."""

_CASES = ((1, 1), (1, 2), (1, 7), (2, 2), (33, 1), (130, 3), (500, 2))
"""Vectors and rows of the comparison at load; the rows differ in length."""


class CudaEngine:
    """One version on the kernels, in fp32; up to `most_rows` steps run in one launch.

    Raises `CudaError`.
    """

    provider = "NextvecCUDA"

    concurrent = False
    precision: Precision = "fp32"

    def __init__(self, kernels: GruKernels, most_rows: int = 32) -> None:
        self.dimensions = kernels.sizes
        self._device = kernels.device
        widest = kernels.widths[0]
        self._steps = [
            StepLauncher(kernels, width, most_rows if width == widest else width)
            for width in reversed(kernels.widths)
        ]
        self._contexts = {
            width: ContextLauncher(kernels, width)
            for width in kernels.widths
            if width <= _CONTEXT_WIDTH
        }

    def run(
        self, vectors: Float32, lengths: NDArray[np.int32], state: Float32
    ) -> tuple[Float32, Float32]:
        """See `Engine.run`."""
        try:
            self._device.bind()
            if len(vectors) == 1:
                moved, states = self._run_steps(vectors[0], state)
            else:
                moved, states = self._run_contexts(vectors, lengths.tolist(), state)
        except CudaError as error:
            raise EngineFault(f"the engine failed: {error}") from error
        # As the graph does, and torch.nn.functional.normalize.
        norms = np.sqrt(np.einsum("nd,nd->n", moved, moved))[:, None]
        return moved / np.maximum(norms, np.float32(1e-12)), states

    def _run_steps(self, vectors: Float32, state: Float32) -> tuple[Float32, Float32]:
        rows = len(vectors)
        launcher = next((s for s in self._steps if rows <= s.most), self._steps[-1])
        if rows <= launcher.most:
            return launcher.run(vectors, state)
        parts = [
            launcher.run(vectors[at : at + launcher.most], state[:, at : at + launcher.most])
            for at in range(0, rows, launcher.most)
        ]
        moved, states = zip(*parts, strict=True)
        return np.concatenate(moved), np.concatenate(states, axis=1)

    def _run_contexts(
        self, vectors: Float32, lengths: list[int], state: Float32
    ) -> tuple[Float32, Float32]:
        if len(lengths) in self._contexts:
            return self._contexts[len(lengths)].run(vectors, lengths, state)
        moved = np.empty(vectors.shape[1:], np.float32)
        states = np.empty_like(state)
        for rows in group_rows(lengths, list(self._contexts)):
            longest = lengths[rows[0]]
            moved[rows], states[:, rows] = self._contexts[len(rows)].run(
                vectors[:longest, rows], [lengths[row] for row in rows], state[:, rows]
            )
        return moved, states


def open_cuda_engine(
    device: CudaDevice, path: Path, sizes: Dimensions, most_rows: int = 32
) -> CudaEngine | None:
    """The graph at `path` on the kernels; None where they cannot serve it, which the log explains.

    They must answer within `BOUND` of ONNX Runtime on the CPU, at several lengths and rows.
    Raises `VersionError` where the graph itself cannot be loaded.
    """
    try:
        kernels = GruKernels(device, sizes, *read_weights(path, sizes))
        engine = CudaEngine(kernels, most_rows)
        difference = largest_difference(engine, OnnxEngine(path, sizes))
    except (UnsupportedGraphError, CudaError, EngineFault) as error:
        logger.warning("%s is served by ONNX Runtime, not by the GRU kernels: %s", path, error)
        return None
    if not difference <= BOUND:
        logger.error(
            "%s is served by ONNX Runtime: the GRU kernels differ from it by %.1e, more than %.0e",
            path,
            difference,
            BOUND,
        )
        return None
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
