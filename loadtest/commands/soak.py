"""`nextvec soak`: mixed load for minutes or hours; fails if the server grows, slows or dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from loadtest import streams
from loadtest.demo import environment
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError
from loadtest.soak.picture import draw_soak
from loadtest.soak.run import GrowthBounds, SoakRun, run_soak
from loadtest.target_server import TargetServer, started_server
from service.clock import SystemClock
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    positive,
    with_options,
)
from service.commands.progress import LiveView
from service.commands.terminal import make_console, print_json

app = new_app()

_UNITS = {"rss_mb": "MB", "descriptors": "", "threads": "", "p95_percent": "%"}


@dataclass(frozen=True, kw_only=True)
class SoakOptions:
    """Options of `nextvec soak`."""

    minutes: Annotated[
        float, typer.Option(parser=positive, metavar="MINUTES", help="Length of the run.")
    ] = 10.0
    rate: Annotated[
        float, typer.Option(parser=positive, metavar="NUMBER", help="Requests per second.")
    ] = 40.0
    url: Annotated[
        str | None,
        typer.Option(help="Address of a running server. Without it, one is started and stopped."),
    ] = None
    pid: Annotated[
        int | None,
        typer.Option(help="With --url: the server's process, if it is on this machine."),
    ] = None
    token: Annotated[
        str | None,
        typer.Option(help="With --url: a viewer's token, to read the admin routes too."),
    ] = None
    canary: Annotated[
        str | None,
        typer.Option(
            help="With --url and an operator's token: a version to roll out and abort, over and "
            "over."
        ),
    ] = None
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint for the server to start.")] = Path(
        "checkpoints/phase-2.safetensors"
    )
    rss_mb: Annotated[float, typer.Option(help="Bound on the growth of memory.")] = 32.0
    p95_percent: Annotated[float, typer.Option(help="Bound on the growth of the P95.")] = 50.0
    out: Annotated[Path, typer.Option(help="Directory for the plot and the samples.")] = Path(
        "out/soak"
    )
    output: OutputFormat = "text"


@app.command(
    epilog=examples(
        "nextvec soak",
        "nextvec soak --minutes 240",
        "nextvec soak --url http://127.0.0.1:8080 --pid 4242 --token $NEXTVEC_TOKEN",
    )
)
@with_options(SoakOptions)
def soak(options: SoakOptions) -> None:
    """Send mixed load for a long time and check that nothing grows.

    Requests are sent when they are due: sessions, contexts, /v2, /v1/steps, feedback, status and
    metrics, with callers that go away, event streams, evictions and aborted rollouts. Memory,
    descriptors, threads and the P95 are fitted with a line after the first 30 % of the run. The
    exit status is 1 if the whole 95 % interval of a growth lies above its bound, or after a 5xx,
    a request without an answer, or the server's end.
    """
    console = make_console(stderr=options.output == "json")
    environment.exit_on_sigterm()
    bounds = GrowthBounds(rss_mb=options.rss_mb, p95_percent=options.p95_percent)
    try:
        data = streams.load()
        options.out.mkdir(parents=True, exist_ok=True)
        with _target(options, console) as target, LiveView(console) as live:
            run = run_fast(
                run_soak(
                    target,
                    data,
                    SystemClock(),
                    options.minutes * 60,
                    options.rate,
                    lambda run: live.show(lambda: _progress(run), lambda: _table(run, bounds)),
                )
            )
            run.tracebacks = target.count_tracebacks()
    except (environment.EnvironmentSetupError, streams.StreamError, ClientError, OSError) as error:
        raise SystemExit(f"nextvec soak: {error}") from error
    (options.out / "soak.json").write_bytes(
        orjson.dumps([asdict(sample) for sample in run.samples], option=orjson.OPT_INDENT_2)
    )
    draw_soak(run, options.out / "soak.png")
    console.print(_table(run, bounds))
    for text, count in run.errors.most_common(10):
        console.print(f"{count} × {text}", markup=False)
    problems = run.problems(bounds)
    for problem in problems:
        console.print(f"nextvec soak: {problem}", style="red", markup=False)
    console.print(f"{options.out / 'soak.png'}, {options.out / 'soak.json'}")
    console.print(last_line(run, problems), markup=False, soft_wrap=True)
    if options.output == "json":
        print_json(
            {
                "minutes": run.seconds / 60,
                "statuses": {str(status): count for status, count in run.statuses.items()},
                "errors": dict(run.errors),
                "growth": {name: trend._asdict() for name, trend in run.trends().items()},
                "problems": problems,
                "samples": str(options.out / "soak.json"),
                "picture": str(options.out / "soak.png"),
            }
        )
    if problems:
        raise typer.Exit(1)


def last_line(run: SoakRun, problems: list[str]) -> str:
    """The counts, on one line."""
    total = sum(run.statuses.values())
    server_errors = sum(n for status, n in run.statuses.items() if status >= 500)
    done = run.disturbances
    assert done is not None
    return (
        f"soak: {total} requests, {server_errors} 5xx, {run.statuses[0]} without an answer, "
        f"{run.statuses[429]} refused with 429, {done.aborted} aborted by us, "
        f"{done.streams_read} event streams, {done.rollouts} rollouts, "
        f"{len(problems)} problems"
    )


@contextmanager
def _target(options: SoakOptions, console: Console) -> Iterator[TargetServer]:
    if options.url is not None:
        if options.pid is None:
            console.print("Memory, descriptors and threads are not watched: give --pid.")
        yield TargetServer(options.url, options.token, options.pid, options.canary)
        return
    console.print("Starting a server")
    with started_server(options.checkpoint, options.out) as target:
        yield target


def _progress(run: SoakRun) -> str:
    at = run.samples[-1].at if run.samples else 0.0
    return f"{at / 60:.1f} of {run.seconds / 60:g} minutes, {sum(run.statuses.values())} requests"


def _table(run: SoakRun, bounds: GrowthBounds) -> Table:
    shown = Table(title=_progress(run), box=box.SIMPLE)
    for column in ("", "last", "growth", "95 % interval", "bound"):
        shown.add_column(column, justify="left" if not column else "right")
    last = run.samples[-1] if run.samples else None
    for name, trend in run.trends().items():
        value = getattr(last, "p95_ms" if name == "p95_percent" else name, float("nan"))
        unit = _UNITS[name]
        shown.add_row(
            "p95_ms" if name == "p95_percent" else name,
            f"{value:.3g}",
            f"{trend.growth:+.3g} {unit}",
            f"{trend.low:+.3g} to {trend.high:+.3g}",
            f"{getattr(bounds, name):g} {unit}",
        )
    return shown
