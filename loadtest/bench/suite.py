"""The rows of `nextvec bench`: the engine, the overhead, and the service over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtest.bench import (
    bare_engine,
    fast_path_overhead,
    http_service,
    rpc_service,
    service_overhead,
)
from loadtest.bench.cpu_cost import CpuBenchmark
from loadtest.bench.http_service import BenchmarkTarget
from loadtest.bench.reference_step import ReferenceStep
from loadtest.bench.table import BenchmarkGoal, BenchmarkRow
from loadtest.demo import environment
from loadtest.generator.event_loop import run_fast
from loadtest.streams import Streams
from loadtest.timings import Timings
from service.clock import Clock
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import OnnxEngine
from service.inference.repository import VersionFiles
from service.manifest import STEP_INT8

_PAUSE = 0.001
"""Typical seconds between two requests of a session, spent in the client and the service."""

CPU_GOALS = {"all": 150.0, "engine": 50.0}
"""Goals for the CPU microseconds of a step outside the engine, by role of the process."""

_PROCESS = {
    "all": "one process",
    "engine": "{} workers: engine process",
    "workers": "{} workers: all of them",
    "supervisor": "{} workers: supervisor",
}

_QUIET_RATIO = 1.1
"""Largest ratio of two values of B in one run; above it, the machine was not idle."""


@dataclass(frozen=True)
class BenchmarkSuite:
    """What the benchmark of the service needs.

    `files` is the exported version and `direct` an engine with its direct export. Servers run
    from `models` and write to `out`, with `threads` for ONNX Runtime. Each measurement over
    HTTP takes `seconds`.
    """

    files: VersionFiles
    direct: Engine
    models: Path
    out: Path
    streams: Streams
    clock: Clock
    seconds: float
    threads: int

    def rows(self, reference: ReferenceStep) -> Iterator[BenchmarkRow]:
        """Measure one row after the other, with as few engines and servers alive as possible."""
        folded = open_engine(self.files, self.files.graph)
        yield from self._engine_rows(reference, folded)
        yield from self._generator_rows(reference)
        yield from self._overhead_rows()
        yield from self._cpu_rows()
        yield from self._memory_rows()
        yield from self._service_rows(reference, folded)
        yield from self._variant_rows(reference)

    def _engine_rows(self, reference: ReferenceStep, folded: Engine) -> Iterator[BenchmarkRow]:
        first = reference.first
        yield BenchmarkRow(
            "bare step, direct export (B)", "ms", first.p50 * 1000, times=first, b=first.p50
        )
        direct = self.direct
        int8 = open_engine(self.files, self.files.graph.with_name(STEP_INT8))
        two_threads = open_engine(self.files, self.files.graph, threads=2)
        for what, engine, batch, pause in (
            *((f"direct export, batch of {batch}", direct, batch, 0.0) for batch in (8, 32)),
            *((f"8 bits, batch of {batch}", int8, batch, 0.0) for batch in (1, 4, 8, 32)),
            ("8 bits, each 1 ms after the last", int8, 1, _PAUSE),
            *((f"folded, batch of {batch}", folded, batch, 0.0) for batch in (1, 4, 8, 32)),
            ("folded, each 1 ms after the last", folded, 1, _PAUSE),
            ("folded, on two threads", two_threads, 1, 0.0),
        ):
            measure = partial(
                bare_engine.time_steps, engine, self.streams, batch, 300, self.clock, pause=pause
            )
            yield _time_row(f"bare step, {what}", *reference.measure_with_reference(measure))

    def _generator_rows(self, reference: ReferenceStep) -> Iterator[BenchmarkRow]:
        (alone, many), b = reference.measure_with_reference(
            lambda: run_fast(
                http_service.time_generator(self.streams, self.clock, self.seconds / 2)
            )
        )
        yield _time_row("load generator alone, 1 caller", alone, b)
        yield _rate_row("load generator alone, 32 callers", many, b)

    def _overhead_rows(self) -> Iterator[BenchmarkRow]:
        manifest = self.files.manifest
        dispatch = run_fast(service_overhead.time_appends(manifest, self.streams, 6000, self.clock))
        yield BenchmarkRow(
            "routing, metrics, session look-up",
            "P50 µs",
            dispatch.p50 * 1e6,
            BenchmarkGoal(60),
            times=dispatch,
        )
        whole = run_fast(
            fast_path_overhead.time_steps(
                self.models, manifest.version, self.streams, 4000, self.clock
            )
        )
        yield BenchmarkRow(
            "a step without engine and socket", "P50 µs", whole.p50 * 1e6, times=whole
        )
        page = service_overhead.time_scrapes(50, self.clock)
        yield BenchmarkRow(
            "a scrape of two versions' metrics", "P50 ms", page.p50 * 1000, times=page
        )

    def _cpu_rows(self) -> Iterator[BenchmarkRow]:
        """CPU of a step outside the engine; it means something on a busy machine as well."""
        benchmark = CpuBenchmark(
            self.models, self.files.manifest.version, self.streams, self.clock, self.seconds / 2
        )
        for workers, callers, rows in ((1, 1, 1), (1, 32, 1), (1, 2, 32), (2, 32, 1), (2, 2, 32)):
            cost = benchmark.measure(workers, callers, rows)
            load = f"{callers} callers" if rows == 1 else f"/v1/steps with {rows} rows"
            for role, micros in cost.micros.items():
                goal = BenchmarkGoal(CPU_GOALS[role]) if role in CPU_GOALS and rows == 1 else None
                what = f"CPU of a step, {load}, {_PROCESS[role].format(workers)}"
                yield BenchmarkRow(what, "µs", micros, goal)

    def _memory_rows(self) -> Iterator[BenchmarkRow]:
        plain = self._session_bytes(1000)
        compact = self._session_bytes(1000, compact=True)
        short = self._session_bytes(2)
        yield BenchmarkRow(
            "a session's memory at 2 vectors", "KiB", short / 1024, BenchmarkGoal(20)
        )
        yield BenchmarkRow(
            "a session's memory at 1000 vectors", "MB", compact / 1e6, BenchmarkGoal(0.8)
        )
        yield BenchmarkRow("the same without compact_history", "MB", plain / 1e6)

    def _session_bytes(self, length: int, *, compact: bool = False) -> float:
        return run_fast(
            service_overhead.measure_session_bytes(
                self.files.manifest, self.streams, length, self.clock, compact=compact
            )
        )

    def _service_rows(self, reference: ReferenceStep, folded: Engine) -> Iterator[BenchmarkRow]:
        version = self.files.manifest.version
        with environment.run_server(
            self.models, self.out, version, None, self._settings("fp32")
        ) as server:
            target = self._target(server)
            yield from _step_rows(target, reference, "fp32", (0.70, 4.5, 7.0))
            yield from _context_rows(target, folded, self.direct, reference)
        rpc = environment.free_port() if rpc_service.is_installed() else None
        int8 = self._settings("int8")
        if rpc is not None:
            int8["NEXTVEC_RPC__PORT"] = str(rpc)
        with environment.run_server(self.models, self.out, version, None, int8) as server:
            target = self._target(server)
            yield from _step_rows(target, reference, "int8", (0.30, 6.0, 10.0))
            yield _frame_row(target, reference)
            if rpc is not None:
                yield from _rpc_rows(target, rpc, reference)
        with environment.run_server(
            self.models,
            self.out,
            version,
            None,
            {**self._settings("int8"), "NEXTVEC_HTTP__WORKERS": "2"},
        ) as server:
            target = self._target(server)
            for count in (1, 32):
                measure = partial(_steps, target, count)
                times, b = reference.measure_with_reference(measure)
                yield _rate_row(f"steps over HTTP, {count} sessions, int8, 2 workers", times, b)

    def _variant_rows(self, reference: ReferenceStep) -> Iterator[BenchmarkRow]:
        with environment.run_server(
            self.models, self.out, settings=self._settings("fp32")
        ) as server:
            target = self._target(server)
            rate = 0.25 / reference.history[-1]
            (phase_2, phase_3), b = reference.measure_with_reference(
                lambda: run_fast(http_service.time_variants(target, rate))
            )
        yield _time_row("step, Phase-2 beside Phase-3", phase_2, b)
        ratio = phase_3.p95 / phase_2.p95
        yield BenchmarkRow(
            "step, Phase-3 beside Phase-2", "P95 ÷ P95", ratio, BenchmarkGoal(1.05), phase_3, b
        )

    def _settings(self, precision: str) -> dict[str, str]:
        return {
            "NEXTVEC_ENGINE__INTRA_OP_THREADS": str(self.threads),
            "NEXTVEC_ENGINE__PRECISION": precision,
        }

    def _target(self, server: environment.ServerProcess) -> BenchmarkTarget:
        return BenchmarkTarget(server, self.streams, self.clock, self.seconds)


def open_engine(files: VersionFiles, graph: Path, threads: int = 1) -> OnnxEngine:
    """An engine for another graph of the same version."""
    return OnnxEngine(graph, files.manifest.dimensions, threads=threads)


def notes(reference: ReferenceStep) -> tuple[str, ...]:
    """How to read the table, and a warning if the machine was busy."""
    lines = [
        "B is the P50 of one step through the direct export on one thread of an idle machine.",
        "Each ratio divides by the mean of the B just before it and the B just after it.",
        "Loops are closed: a caller sends when it has its response. Rates are vectors per second.",
    ]
    least, most = min(reference.history), max(reference.history)
    if most > _QUIET_RATIO * least:
        lines.append(
            f"B ranged from {least * 1000:.3g} to {most * 1000:.3g} ms: the machine was busy, so "
            "milliseconds of different rows are not comparable."
        )
    return tuple(lines)


def _step_rows(
    target: BenchmarkTarget,
    reference: ReferenceStep,
    precision: str,
    goals: tuple[float, float, float],
) -> Iterator[BenchmarkRow]:
    measure = partial(_steps, target, 1)
    what = f"step over HTTP, 1 session, {precision}"
    yield _time_row(what, *reference.measure_with_reference(measure), BenchmarkGoal(goals[0]))
    for count, least in ((8, goals[1]), (32, goals[2])):
        measure = partial(_steps, target, count)
        what = f"steps over HTTP, {count} sessions, {precision}"
        yield _rate_row(
            what, *reference.measure_with_reference(measure), BenchmarkGoal(least, at_least=True)
        )


def _frame_row(target: BenchmarkTarget, reference: ReferenceStep) -> BenchmarkRow:
    measure = partial(http_service.time_step_frames, target, 2, 32)
    times, b = reference.measure_with_reference(lambda: run_fast(measure()))
    goal = BenchmarkGoal(12, at_least=True)
    return _rate_row("/v1/steps with 32 rows, int8", times, b, goal)


def _rpc_rows(
    target: BenchmarkTarget, port: int, reference: ReferenceStep
) -> Iterator[BenchmarkRow]:
    for count in (1, 8):
        measure = partial(_rpc_steps, target, port, count)
        times, b = reference.measure_with_reference(measure)
        if count == 1:
            yield _time_row("step over gRPC, 1 session, int8", times, b)
        else:
            yield _rate_row(f"steps over gRPC, {count} sessions, int8", times, b)


def _rpc_steps(target: BenchmarkTarget, port: int, count: int) -> Timings:
    return run_fast(rpc_service.time_steps(target, port, count))


def _steps(target: BenchmarkTarget, count: int) -> Timings:
    return run_fast(http_service.time_steps(target, count))


def _contexts(target: BenchmarkTarget, engines: Sequence[Engine], length: int) -> list[Timings]:
    return run_fast(http_service.time_contexts(target, engines, length))


def _context_rows(
    target: BenchmarkTarget, folded: Engine, direct: Engine, reference: ReferenceStep
) -> Iterator[BenchmarkRow]:
    for length in (500, 1000):
        measure = partial(_contexts, target, (folded, direct), length)
        (over, alone, traced), b = reference.measure_with_reference(measure)
        yield _time_row(f"context of {length}, bare, direct export", traced, b)
        yield _time_row(f"context of {length}, bare, folded", alone, b)
        goal = BenchmarkGoal(1.03) if length == 1000 else None
        what = f"context of {length} over HTTP"
        yield BenchmarkRow(what, "÷ bare folded", over.p50 / alone.p50, goal, over, b)
    again, b = reference.measure_with_reference(
        lambda: run_fast(http_service.time_resent_context(target, 1000))
    )
    what = "context of 1000 resent with one new vector"
    yield BenchmarkRow(what, "÷ recomputed", again.p50 / over.p50, BenchmarkGoal(0.05), again, b)
    steady = 0.2 / reference.history[-1]
    (without, beside, rate), b = reference.measure_with_reference(
        lambda: run_fast(http_service.time_steps_beside_contexts(target, steady, 1000))
    )
    yield BenchmarkRow("steps at 0.2 ÷ B a second", "P95 ÷ B", without.p95 / b, times=without, b=b)
    what = f"steps beside {rate:.1f} contexts of 1000 a second"
    yield BenchmarkRow(what, "P95 ÷ P95", beside.p95 / without.p95, BenchmarkGoal(2.0), beside, b)


def _time_row(
    what: str, times: Timings, b: float, goal: BenchmarkGoal | None = None
) -> BenchmarkRow:
    return BenchmarkRow(what, "P50 ÷ B", times.p50 / b, goal, times, b)


def _rate_row(
    what: str, times: Timings, b: float, goal: BenchmarkGoal | None = None
) -> BenchmarkRow:
    return BenchmarkRow(what, "rate × B", times.rate * b, goal, times, b)
