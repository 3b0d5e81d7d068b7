"""The engine alone on one provider: whole contexts, and steps with states here or there.

What this service was claimed to do on a GPU is 500 vectors in 2.5 ms and 1000 in
5; one run says whether it does, in which precision, and what a step costs with
its state on the host, on the device, and replayed as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.rows import Goal, Row
from loadtest.bench.times import Times
from loadtest.streams import Streams
from service.clock import Clock
from service.inference.engines.device_engine import DeviceEngine
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import CUDA, OnnxEngine
from service.inference.engines.onnx_pool import OnnxPool, open_pool
from service.inference.engines.state_pool import PADDING, SMALLEST, StatePool
from service.inference.engines.states import advance
from service.inference.repository import VersionFiles
from service.manifest import MODEL, MODEL_FP16, STEP_POOLED, Precision
from service.types import State, Vectors

BATCHES = (1, 8, 32)
CLAIMS = {500: 2.5, 1000: 5.0}
"""Milliseconds for one whole context of so many vectors."""

_FEWEST, _MOST = 3, 500
_CONTEXT_FILES: dict[Precision, str] = {"fp32": MODEL, "fp16": MODEL_FP16}


@dataclass(frozen=True)
class Plan:
    """What to measure; `seconds` is spent on each, three runs at least."""

    provider: str
    seconds: float
    threads: int
    batches: Sequence[int] = BATCHES
    claims: Mapping[int, float] = field(default_factory=lambda: dict(CLAIMS))


def rows(files: VersionFiles, plan: Plan, data: Streams, clock: Clock) -> Iterator[Row]:
    """One measurement after the other. Raises `VersionError` where the provider is not got."""
    exact: dict[int, Vectors] = {}
    for precision in _CONTEXT_FILES:
        full = _full(files, precision, plan)
        if precision == "fp32":
            yield _nothing(files, full, plan, clock)
        yield from _contexts(full, plan, data, clock)
        yield from _steps(files, full, plan, data, clock)
        yield from _distances(full, exact, plan, data)


def _full(files: VersionFiles, precision: Precision, plan: Plan) -> OnnxEngine:
    graph = files.graph.with_name(_CONTEXT_FILES[precision])
    sizes = files.manifest.dimensions
    return OnnxEngine(graph, sizes, plan.provider, plan.threads, precision)


def _pool(files: VersionFiles, full: OnnxEngine, plan: Plan, *, graphs: bool) -> OnnxPool:
    return open_pool(
        files.graph.with_name(STEP_POOLED[full.precision]),
        full.dimensions,
        full.provider,
        SMALLEST,
        threads=plan.threads,
        graphs=graphs,
    )


def _nothing(files: VersionFiles, full: OnnxEngine, plan: Plan, clock: Clock) -> Row:
    """What no run can be faster than: one that reads a state and does nothing with it."""
    pool = _pool(files, full, plan, graphs=False)
    slot = np.array([PADDING], np.int64)
    times = _repeated(lambda: pool.read(slot), 1, plan, clock)
    return _row("a run that only reads one state back", times)


def _contexts(full: OnnxEngine, plan: Plan, data: Streams, clock: Clock) -> Iterator[Row]:
    for length, claim in plan.claims.items():
        for batch in plan.batches:
            block = np.stack([data.read(i, 0, length) for i in range(batch)], axis=1)
            run = partial(full.run, block, np.full(batch, length, np.int32), _cold(full, batch))
            times = _repeated(run, batch * length, plan, clock)
            goal = Goal(claim) if batch == 1 else None
            yield _row(f"context of {length}, batch of {batch}, {full.precision}", times, goal)


def _steps(
    files: VersionFiles, full: OnnxEngine, plan: Plan, data: Streams, clock: Clock
) -> Iterator[Row]:
    ways: dict[str, Engine] = {"states on the host": full}
    pool = _pool(files, full, plan, graphs=False)
    ways["states on the device"] = DeviceEngine(full, StatePool(pool))
    if full.provider == CUDA:
        graphed = _pool(files, full, plan, graphs=True)
        if graphed.graphed:
            ways["CUDA graph"] = DeviceEngine(full, StatePool(graphed))
    for way, engine in ways.items():
        for batch in plan.batches:
            times = _repeated(_stepping(engine, data, batch), batch, plan, clock)
            yield _row(f"step, batch of {batch}, {full.precision}, {way}", times)


def _stepping(engine: Engine, data: Streams, batch: int) -> Callable[[], object]:
    """A call runs the next vector of each of `batch` streams, its state carried."""
    states: Sequence[State] = [_cold(engine, 1)[:, 0]] * batch
    lengths = np.ones(batch, np.int32)
    done = 0

    def step() -> None:
        nonlocal states, done
        vectors = np.stack([data.read(i, done, 1) for i in range(batch)], axis=1)
        _, states = advance(engine, vectors, lengths, states)
        done += 1

    return step


def _distances(
    full: OnnxEngine, exact: dict[int, Vectors], plan: Plan, data: Streams
) -> Iterator[Row]:
    """Of whole contexts in another precision to those in fp32, which come first."""
    for length in plan.claims:
        block = np.stack([data.read(i, 0, length) for i in range(plan.batches[-1])], axis=1)
        lengths = np.full(block.shape[1], length, np.int32)
        predicted, _ = full.run(block, lengths, _cold(full, block.shape[1]))
        if length not in exact:
            exact[length] = predicted
            continue
        cosine = float(np.einsum("nd,nd->n", exact[length], predicted).min())
        what = f"context of {length}, {full.precision} beside fp32"
        yield Row(what, "smallest cosine", cosine, Goal(0.9999, at_least=True))


def _cold(engine: Engine, batch: int) -> NDArray[np.float32]:
    sizes = engine.dimensions
    return np.zeros((sizes.layers, batch, sizes.hidden), np.float32)


def _repeated(run: Callable[[], object], vectors: int, plan: Plan, clock: Clock) -> Times:
    run()
    took: list[float] = []
    while len(took) < _FEWEST or (sum(took) < plan.seconds and len(took) < _MOST):
        began = clock.monotonic()
        run()
        took.append(clock.monotonic() - began)
    return Times.of(took, vectors * len(took) / sum(took))


def _row(what: str, times: Times, goal: Goal | None = None) -> Row:
    return Row(what, "P50 ms", times.p50 * 1000, goal, times)
