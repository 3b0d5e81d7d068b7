"""The engine that runs contexts and steps of a Memory-Augmented GRU on the CUDA kernels."""

from __future__ import annotations

import logging
import threading
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

TOLERANCE = 1e-5
"""The kernels serve a graph only if no output differs from it by more than this."""

_CONTEXT_WIDTH = 2
"""The most contexts that run side by side: four would take twice as long as two."""

_CASES = ((1, 1), (1, 2), (1, 7), (2, 2), (33, 1), (130, 3), (500, 2))
"""Context lengths and batch sizes that are compared at load. Rows of a batch differ in length."""


class CudaEngine:
    """Runs one version in fp32. One launch runs up to `most_rows` steps.

    Raises `CudaError` if the kernels cannot be compiled or loaded.
    """

    provider = "NextvecCUDA"

    concurrent = False
    precision: Precision = "fp32"

    def __init__(self, kernels: GruKernels, most_rows: int = 32) -> None:
        self.dimensions = kernels.sizes
        self._device = kernels.device
        # The device's context is a property of a thread: load and serve in different ones.
        self._thread = 0
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
        """See `Engine.run`. Raises `EngineFault` if the device fails."""
        try:
            if (thread := threading.get_ident()) != self._thread:
                self._device.bind()
                self._thread = thread
            if len(vectors) == 1:
                predicted, states = self._run_steps(vectors[0], state)
            else:
                predicted, states = self._run_contexts(vectors, lengths.tolist(), state)
        except CudaError as error:
            raise EngineFault(f"the engine failed: {error}") from error
        # The graph and torch.nn.functional.normalize bound the norm in the same way.
        norms = np.sqrt(np.einsum("nd,nd->n", predicted, predicted))[:, None]
        return predicted / np.maximum(norms, np.float32(1e-12)), states

    def _run_steps(self, vectors: Float32, state: Float32) -> tuple[Float32, Float32]:
        rows = len(vectors)
        launcher = next((s for s in self._steps if rows <= s.most), self._steps[-1])
        if rows <= launcher.most:
            return launcher.run(vectors, state)
        parts = [
            launcher.run(vectors[at : at + launcher.most], state[:, at : at + launcher.most])
            for at in range(0, rows, launcher.most)
        ]
        predicted, states = zip(*parts, strict=True)
        return np.concatenate(predicted), np.concatenate(states, axis=1)

    def _run_contexts(
        self, vectors: Float32, lengths: list[int], state: Float32
    ) -> tuple[Float32, Float32]:
        if len(lengths) in self._contexts:
            return self._contexts[len(lengths)].run(vectors, lengths, state)
        predicted = np.empty(vectors.shape[1:], np.float32)
        states = np.empty_like(state)
        for rows in group_rows(lengths, list(self._contexts)):
            longest = lengths[rows[0]]
            predicted[rows], states[:, rows] = self._contexts[len(rows)].run(
                vectors[:longest, rows], [lengths[row] for row in rows], state[:, rows]
            )
        return predicted, states


def open_cuda_engine(
    device: CudaDevice, path: Path, sizes: Dimensions, most_rows: int = 32
) -> CudaEngine | None:
    """Open the graph at `path` on the kernels.

    Returns None, and logs the reason, if the kernels do not support the graph or if their
    results differ from ONNX Runtime's on the CPU by more than `TOLERANCE`. Raises
    `VersionError` if the graph cannot be loaded.
    """
    try:
        kernels = GruKernels(device, sizes, *read_weights(path, sizes))
        engine = CudaEngine(kernels, most_rows)
        difference = largest_difference(engine, OnnxEngine(path, sizes))
    except (UnsupportedGraphError, CudaError, EngineFault) as error:
        logger.warning("%s runs on ONNX Runtime, not on the GRU kernels: %s", path, error)
        return None
    if not difference <= TOLERANCE:
        logger.error(
            "%s runs on ONNX Runtime: the GRU kernels differ from it by %.1e, more than %.0e",
            path,
            difference,
            TOLERANCE,
        )
        return None
    logger.info(
        "%s runs on the GRU kernels; largest difference from the graph: %.1e", path, difference
    )
    return engine


def largest_difference(engine: Engine, graph: Engine) -> float:
    """The largest difference between the two engines' outputs over `_CASES`; NaN if any is NaN."""
    rng = np.random.default_rng(0)
    sizes = graph.dimensions
    largest = 0.0
    for time, rows in _CASES:
        vectors = rng.standard_normal((time, rows, sizes.dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        lengths = np.array([max(1, time - 7 * row) for row in range(rows)], np.int32)
        state = rng.uniform(-1, 1, (sizes.layers, rows, sizes.hidden)).astype(np.float32)
        for ours, theirs in zip(
            engine.run(vectors, lengths, state), graph.run(vectors, lengths, state), strict=True
        ):
            largest = float(np.maximum(largest, np.abs(ours - theirs).max()))
    return largest
