"""A pool of states on ONNX Runtime's device, and the graphs that read, write and step it.

Every graph is bound to buffers of its own, made once for each size of batch:
the pool is input and output of the same run, so it is changed where it lies,
and a run brings over the vectors and slot numbers and nothing else.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import EngineFault, VersionError
from service.inference.engines.buckets import BUCKETS, bucket_of
from service.inference.engines.graph_replay import stale
from service.inference.engines.onnx_engine import CUDA, open_session
from service.inference.engines.state_pool import PADDING
from service.manifest import STATE_READ, STATE_WRITE, Dimensions

logger = logging.getLogger(__name__)

_Array = NDArray[np.float32] | NDArray[np.int64]


class _Bound:
    """One graph at one size of batch: inputs and outputs at fixed addresses."""

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

    def run(self, options: ort.RunOptions | None, **given: _Array) -> NDArray[np.float32]:
        """Run on `given`, each the beginning of its buffer on the axis of the batch.

        What is past it stays as it was. Returns a copy of the whole output.
        """
        try:
            for name, array in given.items():
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
        # ONNX Runtime's errors share no base class but Exception.
        except Exception as error:
            raise EngineFault(f"the engine failed: {error}") from error


class OnnxPool:
    """`state_pool.Device` on a provider of ONNX Runtime, and `replay.Replaying` as well.

    `step` is a pooled step graph with the version's two others beside it; `provider`
    the one that its full graph got. With `graphed` a step is captured as a CUDA graph
    for each size of batch. Raises `VersionError`, or `EngineFault` by its first runs.
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
            self._steps[bucket] = _Bound(
                step_session,
                device,
                pool,
                {"vectors": vectors, "sources": numbers.copy(), "targets": numbers.copy()},
                ("next_vector", (bucket, dimensions.dim)),
            )
            self._reads[bucket] = _Bound(
                read, device, pool, {"slots": numbers.copy()}, ("read", rows)
            )
            written = np.zeros(rows, np.float32)
            self._writes[bucket] = _Bound(
                write, device, pool, {"slots": numbers.copy(), "written": written}, None
            )
        self._options = {bucket: _options(str(bucket)) for bucket in BUCKETS}
        self._ungraphed = _options("-1")
        # The memory may hold anything: zeros where rows are padded, and a first run of each.
        self.write(np.array([PADDING], np.int64), np.zeros((1, *shape[1:]), np.float32))
        for bound in self._steps.values():
            bound.run(self._ungraphed)

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `Device.read`."""
        bucket = bucket_of(len(slots))
        return self._reads[bucket].run(None, slots=_padded(slots, bucket))[: len(slots)]

    def write(self, slots: NDArray[np.int64], states: NDArray[np.float32]) -> None:
        """See `Device.write`."""
        bucket = bucket_of(len(slots))
        self._writes[bucket].run(None, slots=_padded(slots, bucket), written=states)

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
            sources=_padded(sources, bucket),
            targets=_padded(targets, bucket),
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
    """An `OnnxPool`; with `graphs`, on CUDA graphs if they hold up.

    If they do not, the log says so, as an error, and steps run kernel by kernel.
    """
    if graphs:
        try:
            pool = OnnxPool(step, dimensions, provider, slots, threads=threads, graphed=True)
            if not (wrong := stale(pool, dimensions)):
                return pool
            sizes = ", ".join(map(str, wrong))
            reason = f"replayed with other inputs, batches of {sizes} answer otherwise than run"
        except (VersionError, EngineFault) as error:
            reason = str(error)
        logger.error("CUDA graphs are given up for %s: %s", step, reason)
    return OnnxPool(step, dimensions, provider, slots, threads=threads)


def _padded(slots: NDArray[np.int64], bucket: int) -> NDArray[np.int64]:
    """To the size of `bucket`: what was in the buffer are slots that may be someone else's now."""
    padded = np.full(bucket, PADDING, np.int64)
    padded[: len(slots)] = slots
    return padded


def _options(graph: str) -> ort.RunOptions:
    """Run options that capture and replay as CUDA graph number `graph`; -1 for none."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", graph)
    return options
