"""`nextvec bench`: one run, a table and a plot, with ratios to the bare step B."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table as Shown

from loadtest import streams
from loadtest.bench import (
    bare_engine,
    device,
    fast_path_overhead,
    goal_chart,
    http_service,
    service_overhead,
)
from loadtest.bench import table as bench_table
from loadtest.bench.reference_step import ReferenceStep
from loadtest.bench.table import BenchmarkGoal, BenchmarkRow, BenchmarkTable
from loadtest.bench.timings import Timings
from loadtest.demo import environment, scenario
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError
from loadtest.rollout_client import AdminError
from service.clock import Clock, SystemClock
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    positive,
    print_json_file,
    with_options,
)
from service.errors import NextvecError
from service.inference.engines.onnx_engine import OnnxEngine
from service.inference.repository import Repository, VersionFiles
from service.manifest import STEP_INT8

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from service.inference.engines.engine import Engine

_MODEL = "next-vector"
_QUIET = 1.1
"""Largest ratio of two values of B in one run; above it, the machine was not idle."""

_WIDTH = 120
"""Width of the table, in characters, when the output is not a terminal."""

_PAUSE = 0.001
"""Typical seconds between two requests of a session, spent in the client and the service."""


app = new_app()


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options of `nextvec bench`."""

    checkpoints: Annotated[
        Path, typer.Option(help="Directory of phase-2.safetensors and phase-3.safetensors.")
    ] = Path("checkpoints")
    provider: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option(
            help="Measure only the engine on this provider, contexts and steps in fp32 and fp16, "
            "without the service. Without a GPU, cuda is refused."
        ),
    ] = None
    data: Annotated[Path, typer.Option(help="Vectors to send (.npz).", show_default=False)] = (
        streams.SAMPLE
    )
    seconds: Annotated[
        float,
        typer.Option(parser=positive, metavar="SECONDS", help="Duration of each measurement."),
    ] = 8.0
    threads: Annotated[int, typer.Option(help="ONNX Runtime threads of the service.")] = 1
    out: Annotated[Path, typer.Option(help="Directory for the report.")] = Path("out/bench")
    output: OutputFormat = "text"


@app.command(
    epilog=examples(
        "nextvec bench", "nextvec bench --seconds 2 --output json", "nextvec bench --provider cuda"
    )
)
@with_options(BenchOptions)
def bench(options: BenchOptions) -> None:
    """Benchmark the service against the bare inference engine.

    Every figure is a ratio to B, the time of one step through the bare engine.
    """
    console = Console(stderr=options.output == "json")
    if not console.is_terminal:
        console.width = _WIDTH
    try:
        if options.provider is None:
            table = _measure(options, SystemClock(), console)
        else:
            table = _measure_engine(options, options.provider, SystemClock(), console)
    except (
        environment.EnvironmentSetupError,
        streams.StreamError,
        ClientError,
        AdminError,
        NextvecError,
        OSError,
    ) as error:
        raise SystemExit(f"nextvec bench: {error}") from error
    bench_table.write(table, options.out)
    goal_chart.draw(table, options.out / "bench.png")
    if options.output == "json":
        print_json_file(options.out / "bench.json")
        return
    console.print(_shown(table))
    for note in table.notes:
        console.print(f"- {note}", markup=False)
    console.print(f"{options.out / 'bench.md'}, bench.json, bench.png")


def _measure(options: BenchOptions, clock: Clock, console: Console) -> BenchmarkTable:
    data = streams.load(options.data)
    models = options.out / "models"
    direct = options.out / "direct.onnx"
    _prepare(options, models, direct, console)
    repository = Repository(models, _MODEL)
    files = repository.open("phase-3")
    found: list[BenchmarkRow] = []
    with console.status("measuring") as status:
        engine = _engine(files, direct)
        reference = ReferenceStep(engine, data, clock)
        for row in _rows(options, files, engine, reference, data, clock, models):
            found.append(row)
            status.update(f"measured: {row.what}")
    notes = [
        "B is the P50 of one step through the direct export, on one thread, nothing else running.",
        "Each ratio is to the mean of the B just before it and the one just after.",
        "Loops are closed (a caller sends when it has its answer); rates are vectors a second.",
    ]
    least, most = min(reference.history), max(reference.history)
    if most > _QUIET * least:
        notes.append(
            f"B went from {least * 1000:.3g} to {most * 1000:.3g} ms within the run: the machine "
            "was not quiet, and milliseconds of different rows cannot be compared."
        )
    settings: dict[str, object] = {
        "B_ms": round(median(reference.history) * 1000, 3),
        "threads": options.threads,
        "cores": os.cpu_count(),
        "seconds": options.seconds,
    }
    return BenchmarkTable(settings, tuple(found), tuple(notes))


def _measure_engine(
    options: BenchOptions, provider: str, clock: Clock, console: Console
) -> BenchmarkTable:
    data = streams.load(options.data)
    models = options.out / f"models-{provider}"
    _export(options, models, "phase-3", console, "--fp16", "--no-int8")
    files = Repository(models, _MODEL).open("phase-3")
    plan = device.DeviceBenchmark(provider, options.seconds, options.threads)
    found: list[BenchmarkRow] = []
    with console.status("measuring") as status:
        for row in device.measure_device(files, plan, data, clock):
            found.append(row)
            status.update(f"measured: {row.what}")
    settings: dict[str, object] = {
        "provider": provider,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "seconds": options.seconds,
    }
    notes = [
        "The engine alone, arrays in and out of host memory; rates are vectors a second.",
        "Goals: 500 and 1000 vectors in 2.5 and 5 ms, and fp16 within cosine 0.9999 of fp32.",
    ]
    if provider == "cuda" and not any("CUDA graph" in row.what for row in found):
        notes.append("CUDA graphs did not hold up: the error is above.")
    return BenchmarkTable(settings, tuple(found), tuple(notes))


def _rows(
    options: BenchOptions,
    files: VersionFiles,
    direct: Engine,
    reference: ReferenceStep,
    data: streams.Streams,
    clock: Clock,
    models: Path,
) -> Iterator[BenchmarkRow]:
    """Measure one row after the other, with as few engines and servers alive as possible."""
    folded = OnnxEngine(files.graph, files.manifest.dimensions)
    first = reference.first
    yield BenchmarkRow(
        "bare step, direct export (B)", "ms", first.p50 * 1000, times=first, b=first.p50
    )
    quick = _engine(files, files.graph.with_name(STEP_INT8))
    two = _engine(files, files.graph, threads=2)
    for what, engine, batch, pause in (
        *((f"direct export, batch of {batch}", direct, batch, 0.0) for batch in (8, 32)),
        *((f"8 bits, batch of {batch}", quick, batch, 0.0) for batch in (1, 4, 8, 32)),
        ("8 bits, each 1 ms after the last", quick, 1, _PAUSE),
        *((f"folded, batch of {batch}", folded, batch, 0.0) for batch in (1, 4, 8, 32)),
        ("folded, each 1 ms after the last", folded, 1, _PAUSE),
        ("folded, on two threads", two, 1, 0.0),
    ):
        measure = partial(bare_engine.time_steps, engine, data, batch, 300, clock, pause=pause)
        yield _time_row(f"bare step, {what}", *reference.measure_beside(measure))
    (alone, many), b = reference.measure_beside(
        lambda: run_fast(http_service.time_generator(data, clock, options.seconds / 2))
    )
    yield _time_row("load generator alone, 1 caller", alone, b)
    yield _rate_row("load generator alone, 32 callers", many, b)
    inner = run_fast(service_overhead.time_appends(files.manifest, data, 6000, clock))
    yield BenchmarkRow(
        "routing, metrics, session look-up",
        "P50 µs",
        inner.p50 * 1e6,
        BenchmarkGoal(60),
        times=inner,
    )
    whole = run_fast(fast_path_overhead.time_steps(models, "phase-3", data, 4000, clock))
    yield BenchmarkRow("a step without engine and socket", "P50 µs", whole.p50 * 1e6, times=whole)
    page = service_overhead.time_scrapes(50, clock)
    yield BenchmarkRow("a scrape of two versions' metrics", "P50 ms", page.p50 * 1000, times=page)
    manifest = files.manifest
    held = run_fast(service_overhead.measure_session_bytes(manifest, data, 1000, clock))
    compact = run_fast(
        service_overhead.measure_session_bytes(manifest, data, 1000, clock, compact=True)
    )
    without = run_fast(service_overhead.measure_session_bytes(manifest, data, 2, clock))
    yield BenchmarkRow("a session's memory at 2 vectors", "KiB", without / 1024, BenchmarkGoal(20))
    yield BenchmarkRow(
        "a session's memory at 1000 vectors", "MB", compact / 1e6, BenchmarkGoal(0.8)
    )
    yield BenchmarkRow("the same without compact_history", "MB", held / 1e6)
    fp32 = {
        "NEXTVEC_ENGINE__INTRA_OP_THREADS": str(options.threads),
        "NEXTVEC_ENGINE__PRECISION": "fp32",
    }
    with environment.run_server(models, options.out, "phase-3", None, fp32) as server:
        target = http_service.BenchmarkTarget(server, data, clock, options.seconds)
        yield from _step_rows(target, reference, "fp32", (0.70, 4.5, 7.0))
        yield from _context_rows(target, folded, direct, reference)
    int8 = {**fp32, "NEXTVEC_ENGINE__PRECISION": "int8"}
    with environment.run_server(models, options.out, "phase-3", None, int8) as server:
        target = http_service.BenchmarkTarget(server, data, clock, options.seconds)
        yield from _step_rows(target, reference, "int8", (0.30, 6.0, 10.0))
    with environment.run_server(models, options.out, settings=fp32) as server:
        target = http_service.BenchmarkTarget(server, data, clock, options.seconds)
        rate = 0.25 / reference.history[-1]
        (phase_2, phase_3), b = reference.measure_beside(
            lambda: run_fast(http_service.time_variants(target, rate))
        )
    yield _time_row("step, Phase-2 beside Phase-3", phase_2, b)
    ratio = phase_3.p95 / phase_2.p95
    yield BenchmarkRow(
        "step, Phase-3 beside Phase-2", "P95 ÷ P95", ratio, BenchmarkGoal(1.05), phase_3, b
    )


def _step_rows(
    target: http_service.BenchmarkTarget,
    reference: ReferenceStep,
    precision: str,
    goals: tuple[float, float, float],
) -> Iterator[BenchmarkRow]:
    measure = partial(_steps, target, 1)
    what = f"step over HTTP, 1 session, {precision}"
    yield _time_row(what, *reference.measure_beside(measure), BenchmarkGoal(goals[0]))
    for count, least in ((8, goals[1]), (32, goals[2])):
        measure = partial(_steps, target, count)
        what = f"steps over HTTP, {count} sessions, {precision}"
        yield _rate_row(
            what, *reference.measure_beside(measure), BenchmarkGoal(least, at_least=True)
        )


def _steps(target: http_service.BenchmarkTarget, count: int) -> Timings:
    return run_fast(http_service.time_steps(target, count))


def _contexts(
    target: http_service.BenchmarkTarget, engines: Sequence[Engine], length: int
) -> list[Timings]:
    return run_fast(http_service.time_contexts(target, engines, length))


def _context_rows(
    target: http_service.BenchmarkTarget, folded: Engine, direct: Engine, reference: ReferenceStep
) -> Iterator[BenchmarkRow]:
    for length in (500, 1000):
        measure = partial(_contexts, target, (folded, direct), length)
        (over, alone, traced), b = reference.measure_beside(measure)
        yield _time_row(f"context of {length}, bare, direct export", traced, b)
        yield _time_row(f"context of {length}, bare, folded", alone, b)
        goal = BenchmarkGoal(1.03) if length == 1000 else None
        what = f"context of {length} over HTTP"
        yield BenchmarkRow(what, "÷ bare folded", over.p50 / alone.p50, goal, over, b)
    again, b = reference.measure_beside(
        lambda: run_fast(http_service.time_resent_context(target, 1000))
    )
    what = "context of 1000 resent with one new vector"
    yield BenchmarkRow(what, "÷ recomputed", again.p50 / over.p50, BenchmarkGoal(0.05), again, b)
    steady = 0.2 / reference.history[-1]
    (without, beside, rate), b = reference.measure_beside(
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


def _prepare(options: BenchOptions, models: Path, direct: Path, console: Console) -> None:
    """Export the versions and the direct graph from the checkpoints, in separate processes."""
    for version in scenario.WINDOWS:
        _export(options, models, version, console)
    with console.status("writing the direct export"):
        environment.export_direct(
            options.checkpoints / "phase-3.safetensors", direct, options.out / "direct.log"
        )


def _export(
    options: BenchOptions, models: Path, version: str, console: Console, *more: str
) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.checkpoints / f"{version}.safetensors"
    if not checkpoint.is_file():
        raise environment.EnvironmentSetupError(
            f"{checkpoint} is missing; pass its directory with --checkpoints"
        )
    window = scenario.WINDOWS[version]
    if not environment.is_export_current(models, version, checkpoint, window):
        with console.status(f"exporting {checkpoint}"):
            log = options.out / f"export-{version}.log"
            environment.export_version(models, version, checkpoint, log, window, *more)


def _engine(files: VersionFiles, graph: Path, threads: int = 1) -> OnnxEngine:
    return OnnxEngine(graph, files.manifest.dimensions, threads=threads)


def _shown(table: BenchmarkTable) -> Shown:
    shown = Shown(box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for i, heading in enumerate(bench_table.HEADINGS):
        shown.add_column(heading, justify="right" if i in {1, 2, 3, 4, 6, 7} else "left")
    for row in table.rows:
        colour = {None: "", True: "green", False: "red"}[row.met]
        shown.add_row(*row.cells(), style=colour)
    return shown
