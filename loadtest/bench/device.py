"""Latency of the engine alone on one provider: contexts, and steps by place of the state.

The goals on a GPU are 500 vectors in 2.5 ms and 1000 in 5 ms. A run shows whether each
precision meets them, and what a step costs with its state on the host, on the device, and
replayed as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.table import BenchmarkGoal, BenchmarkRow
from loadtest.streams import Streams
from loadtest.timings import Timings
from service.clock import Clock
from service.inference.engines.device_engine import DeviceEngine
from service.inference.engines.engine import Engine
from service.inference.engines.engine_factory import open_kernels
from service.inference.engines.onnx_engine import CUDA, OnnxEngine
from service.inference.engines.onnx_pool import OnnxPool, open_pool
from service.inference.engines.state_pool import MIN_SLOTS, PADDING, StatePool
from service.inference.engines.states import advance
from service.inference.repository import VersionFiles
from service.manifest import MODEL, MODEL_FP16, STEP_POOLED, Precision
from service.settings import EngineSettings
from service.types import State, Vectors

BATCHES = (1, 8, 32)
CONTEXT_GOALS_MS = {500: 2.5, 1000: 5.0}
"""Goals in milliseconds for one context, by its number of vectors."""

_FEWEST, _MOST = 3, 500
_CONTEXT_FILES: dict[Precision, str] = {"fp32": MODEL, "fp16": MODEL_FP16}


@dataclass(frozen=True)
class DeviceBenchmark:
    """What to measure: `seconds` for each figure, but at least three runs."""

    provider: str
    seconds: float
    threads: int
    batches: Sequence[int] = BATCHES
    context_goals_ms: Mapping[int, float] = field(default_factory=lambda: dict(CONTEXT_GOALS_MS))


def measure_device(
    files: VersionFiles, benchmark: DeviceBenchmark, data: Streams, clock: Clock
) -> Iterator[BenchmarkRow]:
    """Measure one row after the other. Raises `VersionError` without the provider."""
    exact: dict[int, Vectors] = {}
    if benchmark.provider == "cuda":
        yield from _kernels(files, benchmark, data, clock)
    for precision in _CONTEXT_FILES:
        full = _open_context_engine(files, precision, benchmark)
        if precision == "fp32":
            yield _floor(files, full, benchmark, clock)
        yield from _contexts(full, benchmark, data, clock)
        yield from _steps(files, full, benchmark, data, clock)
        yield from _distances(full, exact, benchmark, data)


def _kernels(
    files: VersionFiles, benchmark: DeviceBenchmark, data: Streams, clock: Clock
) -> Iterator[BenchmarkRow]:
    """The GRU kernels, if they can serve the version here."""
    engine = open_kernels(EngineSettings(device="cuda"), files)
    if engine is None:
        return
    for length in benchmark.context_goals_ms:
        for batch in (1, 2):
            run = _make_context(engine, data, length, batch)
            times = _time_repeatedly(run, batch * length, benchmark, clock)
            yield _row(f"context of {length}, batch of {batch}, GRU kernels", times)
    for batch in benchmark.batches:
        times = _time_repeatedly(_make_step(engine, data, batch), batch, benchmark, clock)
        yield _row(f"step, batch of {batch}, GRU kernels", times)


def _make_context(engine: Engine, data: Streams, length: int, batch: int) -> Callable[[], object]:
    """A function that runs one context of `length` in each of `batch` streams."""
    block = np.stack([data.read(i, 0, length) for i in range(batch)], axis=1)
    lengths = np.full(batch, length, np.int32)
    return partial(engine.run, block, lengths, _zero_state(engine, batch))


def _open_context_engine(
    files: VersionFiles, precision: Precision, benchmark: DeviceBenchmark
) -> OnnxEngine:
    graph = files.graph.with_name(_CONTEXT_FILES[precision])
    sizes = files.manifest.dimensions
    return OnnxEngine(graph, sizes, benchmark.provider, benchmark.threads, precision)


def _pool(
    files: VersionFiles, full: OnnxEngine, benchmark: DeviceBenchmark, *, graphs: bool
) -> OnnxPool:
    return open_pool(
        files.graph.with_name(STEP_POOLED[full.precision]),
        full.dimensions,
        full.provider,
        MIN_SLOTS,
        threads=benchmark.threads,
        graphs=graphs,
    )


def _floor(
    files: VersionFiles, full: OnnxEngine, benchmark: DeviceBenchmark, clock: Clock
) -> BenchmarkRow:
    """The lower bound of every run: reading one state and nothing else."""
    pool = _pool(files, full, benchmark, graphs=False)
    slot = np.array([PADDING], np.int64)
    times = _time_repeatedly(lambda: pool.read(slot), 1, benchmark, clock)
    return _row("a run that only reads one state back", times)


def _contexts(
    full: OnnxEngine, benchmark: DeviceBenchmark, data: Streams, clock: Clock
) -> Iterator[BenchmarkRow]:
    for length, goal_ms in benchmark.context_goals_ms.items():
        for batch in benchmark.batches:
            run = _make_context(full, data, length, batch)
            times = _time_repeatedly(run, batch * length, benchmark, clock)
            goal = BenchmarkGoal(goal_ms) if batch == 1 else None
            yield _row(f"context of {length}, batch of {batch}, {full.precision}", times, goal)


def _steps(
    files: VersionFiles, full: OnnxEngine, benchmark: DeviceBenchmark, data: Streams, clock: Clock
) -> Iterator[BenchmarkRow]:
    ways: dict[str, Engine] = {"states on the host": full}
    pool = _pool(files, full, benchmark, graphs=False)
    ways["states on the device"] = DeviceEngine(full, StatePool(pool))
    if full.provider == CUDA:
        graphed = _pool(files, full, benchmark, graphs=True)
        if graphed.graphed:
            ways["CUDA graph"] = DeviceEngine(full, StatePool(graphed))
    for way, engine in ways.items():
        for batch in benchmark.batches:
            times = _time_repeatedly(_make_step(engine, data, batch), batch, benchmark, clock)
            yield _row(f"step, batch of {batch}, {full.precision}, {way}", times)


def _make_step(engine: Engine, data: Streams, batch: int) -> Callable[[], object]:
    """A function that runs the next vector of each of `batch` streams from its last state."""
    states: Sequence[State] = [_zero_state(engine, 1)[:, 0]] * batch
    lengths = np.ones(batch, np.int32)
    done = 0

    def step() -> None:
        nonlocal states, done
        vectors = np.stack([data.read(i, done, 1) for i in range(batch)], axis=1)
        _, states = advance(engine, vectors, lengths, states)
        done += 1

    return step


def _distances(
    full: OnnxEngine, exact: dict[int, Vectors], benchmark: DeviceBenchmark, data: Streams
) -> Iterator[BenchmarkRow]:
    """Compare contexts with those in fp32, which come first."""
    for length in benchmark.context_goals_ms:
        block = np.stack([data.read(i, 0, length) for i in range(benchmark.batches[-1])], axis=1)
        lengths = np.full(block.shape[1], length, np.int32)
        predicted, _ = full.run(block, lengths, _zero_state(full, block.shape[1]))
        if length not in exact:
            exact[length] = predicted
            continue
        cosine = float(np.einsum("nd,nd->n", exact[length], predicted).min())
        what = f"context of {length}, {full.precision} beside fp32"
        yield BenchmarkRow(what, "smallest cosine", cosine, BenchmarkGoal(0.9999, at_least=True))


def _zero_state(engine: Engine, batch: int) -> NDArray[np.float32]:
    sizes = engine.dimensions
    return np.zeros((sizes.layers, batch, sizes.hidden), np.float32)


def _time_repeatedly(
    run: Callable[[], object], vectors: int, benchmark: DeviceBenchmark, clock: Clock
) -> Timings:
    run()
    durations: list[float] = []
    while len(durations) < _FEWEST or (
        sum(durations) < benchmark.seconds and len(durations) < _MOST
    ):
        begin = clock.monotonic()
        run()
        durations.append(clock.monotonic() - begin)
    return Timings.of(durations, vectors * len(durations) / sum(durations))


def _row(what: str, times: Timings, goal: BenchmarkGoal | None = None) -> BenchmarkRow:
    return BenchmarkRow(what, "P50 ms", times.p50 * 1000, goal, times)
