"""A pool of states on ONNX Runtime's device, with graphs that read, write and step it.

Each graph is bound to its own buffers, allocated once for each batch size. The pool is input
and output of the same run, so it changes in place, and a run copies nothing to the device but
the vectors and slot numbers.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import EngineFault, VersionError
from service.inference.engines.buckets import BUCKETS, bucket_of
from service.inference.engines.graph_replay import find_stale_buckets
from service.inference.engines.onnx_engine import CUDA, open_session
from service.inference.engines.state_pool import PADDING
from service.manifest import STATE_READ, STATE_WRITE, Dimensions

logger = logging.getLogger(__name__)

_Array = NDArray[np.float32] | NDArray[np.int64]


class _BoundGraph:
    """One graph for one batch size, with inputs and outputs at fixed addresses."""

    def __init__(
        self,
        session: ort.InferenceSession,
        device: str,
        pool: ort.OrtValue,
        inputs: dict[str, _Array],
        output: tuple[str, tuple[int, ...]] | None,
    ) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._inputs = {}
        for name, array in inputs.items():
            value = ort.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, device, 0)
            value.update_inplace(array)
            self._binding.bind_ortvalue_input(name, value)
            self._inputs[name] = (value, array)
        self._binding.bind_ortvalue_input("states", pool)
        if "next_states" in (found.name for found in session.get_outputs()):
            self._binding.bind_ortvalue_output("next_states", pool)
        self._output = None
        if output is not None:
            name, shape = output
            value = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, device, 0)
            self._binding.bind_ortvalue_output(name, value)
            self._output = value

    def run(self, options: ort.RunOptions | None, **inputs: _Array) -> NDArray[np.float32]:
        """Run on `inputs`: each array replaces the start of its buffer along the batch axis.

        The rest of the buffer stays. Returns a copy of the whole output.
        """
        try:
            for name, array in inputs.items():
                value, staging = self._inputs[name]
                if name == "vectors":
                    staging[:, : array.shape[1]] = array
                else:
                    staging[: len(array)] = array
                value.update_inplace(staging)
            self._session.run_with_iobinding(self._binding, options)
            if self._output is None:
                return np.empty(0, np.float32)
            return np.array(self._output.numpy())
        # ONNX Runtime's errors have no common base class but Exception.
        except Exception as error:
            raise EngineFault(f"the engine failed: {error}") from error


class OnnxPool:
    """A `Device` and `GraphedDevice` on a provider of ONNX Runtime.

    `step` is the pooled step graph, in the folder of the read and write graphs. `provider` is
    that of the version's full graph. With `graphed`, the step is captured as a CUDA graph for
    each batch size. Raises `VersionError`, or `EngineFault` from its first runs.
    """

    def __init__(
        self,
        step: Path,
        dimensions: Dimensions,
        provider: str,
        slots: int,
        *,
        threads: int = 1,
        graphed: bool = False,
    ) -> None:
        self.slots = slots
        self.graphed = graphed
        device = "cuda" if provider == CUDA else "cpu"
        shape = (slots, dimensions.layers, dimensions.hidden)
        pool = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, device, 0)
        read, write = (
            open_session(step.with_name(name), provider, threads)
            for name in (STATE_READ, STATE_WRITE)
        )
        step_session = open_session(step, provider, threads, cuda_graphs=graphed)
        self._steps, self._reads, self._writes = {}, {}, {}
        for bucket in BUCKETS:
            numbers = np.full(bucket, PADDING, np.int64)
            vectors = np.full((1, bucket, dimensions.dim), dimensions.dim**-0.5, np.float32)
            rows = (bucket, *shape[1:])
            self._steps[bucket] = _BoundGraph(
                step_session,
                device,
                pool,
                {"vectors": vectors, "sources": numbers.copy(), "targets": numbers.copy()},
                ("next_vector", (bucket, dimensions.dim)),
            )
            self._reads[bucket] = _BoundGraph(
                read, device, pool, {"slots": numbers.copy()}, ("read", rows)
            )
            written = np.zeros(rows, np.float32)
            self._writes[bucket] = _BoundGraph(
                write, device, pool, {"slots": numbers.copy(), "written": written}, None
            )
        self._options = {bucket: _options(str(bucket)) for bucket in BUCKETS}
        self._ungraphed = _options("-1")
        # The memory is uninitialized: write zeros to the padding slot, and run each graph once.
        self.write(np.array([PADDING], np.int64), np.zeros((1, *shape[1:]), np.float32))
        for bound in self._steps.values():
            bound.run(self._ungraphed)

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `Device.read`."""
        bucket = bucket_of(len(slots))
        return self._reads[bucket].run(None, slots=_pad(slots, bucket))[: len(slots)]

    def write(self, slots: NDArray[np.int64], states: NDArray[np.float32]) -> None:
        """See `Device.write`."""
        bucket = bucket_of(len(slots))
        self._writes[bucket].run(None, slots=_pad(slots, bucket), written=states)

    def step(
        self,
        vectors: NDArray[np.float32],
        sources: NDArray[np.int64],
        targets: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """See `Device.step`."""
        bucket = bucket_of(len(sources))
        predicted = self._steps[bucket].run(
            self._options[bucket] if self.graphed else self._ungraphed,
            vectors=vectors,
            sources=_pad(sources, bucket),
            targets=_pad(targets, bucket),
        )
        return predicted[: len(sources)]


def open_pool(
    step: Path,
    dimensions: Dimensions,
    provider: str,
    slots: int,
    *,
    threads: int = 1,
    graphs: bool = False,
) -> OnnxPool:
    """An `OnnxPool`; with `graphs` it uses CUDA graphs if their replays are correct.

    If they are not, it logs an error, and steps run kernel by kernel.
    """
    if graphs:
        try:
            pool = OnnxPool(step, dimensions, provider, slots, threads=threads, graphed=True)
            if not (wrong := find_stale_buckets(pool, dimensions)):
                return pool
            sizes = ", ".join(map(str, wrong))
            reason = f"replays of batches of {sizes} return wrong results for new inputs"
        except (VersionError, EngineFault) as error:
            reason = str(error)
        logger.error("CUDA graphs are disabled for %s: %s", step, reason)
    return OnnxPool(step, dimensions, provider, slots, threads=threads)


def _pad(slots: NDArray[np.int64], bucket: int) -> NDArray[np.int64]:
    """Pad to the size of `bucket`: old slots in the buffer may belong to other sessions now."""
    padded = np.full(bucket, PADDING, np.int64)
    padded[: len(slots)] = slots
    return padded


def _options(graph: str) -> ort.RunOptions:
    """Run options that capture and replay CUDA graph number `graph`; -1 for none."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", graph)
    return options
