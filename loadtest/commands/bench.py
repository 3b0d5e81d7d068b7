"""`nextvec bench`: one run, a table and a plot, with ratios to the bare step B."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table as Shown

from loadtest import streams
from loadtest.bench import device, goal_chart
from loadtest.bench import table as bench_table
from loadtest.bench.peer_comparison import PeerComparison, infer_model, read_metadata
from loadtest.bench.reference_step import ReferenceStep
from loadtest.bench.suite import BenchmarkSuite, notes, open_engine
from loadtest.bench.table import BenchmarkRow, BenchmarkTable
from loadtest.demo import environment, scenario
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.generator.infer_caller import InferModel
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
from service.commands.progress import working
from service.commands.terminal import make_console
from service.errors import NextvecError
from service.inference.repository import Repository

_MODEL = "next-vector"
_WIDTH = 120
"""Width of the table, in characters, when the output is not a terminal."""


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
    against: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Send the same load over /v2 to nextvec and to this server of the Open Inference "
            "Protocol (Triton, MLServer, KServe), in turn.",
        ),
    ] = None
    against_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model of the other server.")
    ] = None
    against_shape: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES",
            help="Shape of the other model's input, with N for the number of vectors: N,1,768. "
            "By default from its metadata.",
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
        "nextvec bench",
        "nextvec bench --seconds 2 --output json",
        "nextvec bench --provider cuda",
        "nextvec bench --against http://127.0.0.1:8000 --against-model next-vector",
    )
)
@with_options(BenchOptions)
def bench(options: BenchOptions) -> None:
    """Benchmark the service against the bare inference engine.

    Every figure is a ratio to B, the time of one step through the bare engine.
    """
    console = make_console(stderr=options.output == "json")
    if not console.is_terminal:
        console.width = _WIDTH
    try:
        if options.against is not None:
            table = _compare(options, options.against, SystemClock(), console)
        elif options.provider is None:
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
    console.print(_render(table))
    for note in table.notes:
        console.print(f"- {note}", markup=False)
    console.print(f"{options.out / 'bench.md'}, bench.json, bench.png")


def _measure(options: BenchOptions, clock: Clock, console: Console) -> BenchmarkTable:
    data = streams.load(options.data)
    models = options.out / "models"
    direct_graph = options.out / "direct.onnx"
    _prepare(options, models, direct_graph, console)
    repository = Repository(models, _MODEL)
    files = repository.open("phase-3")
    direct = open_engine(files, direct_graph)
    suite = BenchmarkSuite(
        files, direct, models, options.out, data, clock, options.seconds, options.threads
    )
    rows: list[BenchmarkRow] = []
    with working(console, "measuring") as say:
        reference = ReferenceStep(direct, data, clock)
        for row in suite.rows(reference):
            rows.append(row)
            say(f"measured: {row.what}")
    settings: dict[str, object] = {
        "B_ms": round(median(reference.history) * 1000, 3),
        "threads": options.threads,
        "cores": os.cpu_count(),
        "seconds": options.seconds,
    }
    return BenchmarkTable(settings, tuple(rows), notes(reference))


def _measure_engine(
    options: BenchOptions, provider: str, clock: Clock, console: Console
) -> BenchmarkTable:
    data = streams.load(options.data)
    models = options.out / f"models-{provider}"
    _export(options, models, "phase-3", console, "--fp16", "--no-int8")
    files = Repository(models, _MODEL).open("phase-3")
    plan = device.DeviceBenchmark(provider, options.seconds, options.threads)
    rows: list[BenchmarkRow] = []
    with working(console, "measuring") as say:
        for row in device.measure_device(files, plan, data, clock):
            rows.append(row)
            say(f"measured: {row.what}")
    settings: dict[str, object] = {
        "provider": provider,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "seconds": options.seconds,
    }
    lines = [
        "The engine alone, with arrays in host memory. Rates are vectors per second.",
        "Goals: 500 and 1000 vectors in 2.5 and 5 ms, and fp16 within cosine 0.9999 of fp32.",
    ]
    if provider == "cuda" and not any("CUDA graph" in row.what for row in rows):
        lines.append("CUDA graphs failed; the error is above.")
    return BenchmarkTable(settings, tuple(rows), tuple(lines))


def _compare(options: BenchOptions, url: str, clock: Clock, console: Console) -> BenchmarkTable:
    data = streams.load(options.data)
    found = read_metadata(url, options.against_model)
    theirs = infer_model(HttpClient(url), found, data.vectors.shape[1], options.against_shape)
    models = options.out / "models"
    _export(options, models, "phase-2", console)
    threads = {"NEXTVEC_ENGINE__INTRA_OP_THREADS": str(options.threads)}
    rows: list[BenchmarkRow] = []
    with (
        environment.run_server(models, options.out, "phase-2", None, threads) as server,
        working(console, "measuring") as say,
    ):
        run_fast(server.ready(clock, 60.0))
        ours = InferModel(HttpClient(server.url), _MODEL)
        comparison = PeerComparison(
            ours, theirs, data, clock, options.seconds, (100, 500), found.sequences
        )
        for row in comparison.rows():
            rows.append(row)
            say(f"measured: {row.what}")
    settings: dict[str, object] = {
        "against": url,
        "model": found.name,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "seconds": options.seconds,
    }
    lines = [
        "Both servers get the same requests over /v2, binary tensors, in turn; loops are closed.",
        "Each figure is of the round with the median P50.",
        "Servers on one machine share its cores: stop other work, and give both the same threads.",
    ]
    if not found.sequences:
        lines.append("The other server has no sequences, so steps were not compared.")
    return BenchmarkTable(settings, tuple(rows), tuple(lines))


def _prepare(options: BenchOptions, models: Path, direct: Path, console: Console) -> None:
    """Export the versions and the direct graph from the checkpoints, in separate processes."""
    for version in scenario.WINDOWS:
        _export(options, models, version, console)
    with working(console, "writing the direct export"):
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
        with working(console, f"exporting {checkpoint}"):
            log = options.out / f"export-{version}.log"
            environment.export_version(models, version, checkpoint, log, window, *more)


def _render(table: BenchmarkTable) -> Shown:
    shown = Shown(box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for i, heading in enumerate(bench_table.HEADINGS):
        shown.add_column(heading, justify="right" if i in {1, 2, 3, 4, 6, 7} else "left")
    for row in table.rows:
        colour = {None: "", True: "green", False: "red"}[row.met]
        shown.add_row(*row.cells(), style=colour)
    return shown
