"""`nextvec loadtest`: send real streams to a server and report its latencies."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from loadtest import streams
from loadtest.generator import callers
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.generator.open_loop import (
    OpenLoopDriver,
    arrivals_before,
    constant_arrivals,
    poisson_arrivals,
)
from loadtest.generator.request_log import LATE_SECONDS
from loadtest.overload import report as overload_report
from loadtest.overload.flood_requests import FloodTarget
from loadtest.overload.run import run_overload
from loadtest.report import plots, summary
from loadtest.report.latency import window_p95
from loadtest.rollout_client import AdminError, RolloutClient, RolloutSample, watch_rollout
from service.clock import SystemClock
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    positive,
    print_json_file,
    with_options,
)
from service.commands.progress import LiveView
from service.commands.terminal import make_console

app = new_app()


@dataclass(frozen=True, kw_only=True)
class LoadTestOptions:
    """Options of `nextvec loadtest`."""

    url: Annotated[str, typer.Option(envvar="NEXTVEC_URL", help="Address of the server.")] = (
        "http://127.0.0.1:8080"
    )
    mode: Annotated[
        Literal["stateless", "session"],
        typer.Option(
            help="Send the whole context with every request, or one vector at a time to a session."
        ),
    ] = "session"
    rate: Annotated[
        float, typer.Option(parser=positive, metavar="NUMBER", help="Requests per second.")
    ] = 20.0
    duration: Annotated[
        float, typer.Option(parser=positive, metavar="SECONDS", help="Length of the run.")
    ] = 30.0
    arrivals: Annotated[
        Literal["poisson", "constant"],
        typer.Option(help="Random (Poisson) or evenly spaced arrivals."),
    ] = "poisson"
    context: Annotated[
        int, typer.Option(min=1, help="Stateless mode: vectors in each request.")
    ] = 1000
    session_length: Annotated[
        int, typer.Option(min=1, help="Session mode: vectors in each session.")
    ] = 60
    callers: Annotated[int, typer.Option(min=1, help="Largest number of requests in flight.")] = 256
    key: Annotated[
        Literal["request", "caller"],
        typer.Option(help="Stateless mode: choose the variant per request, or once per caller."),
    ] = "request"
    timeout: Annotated[
        float, typer.Option(parser=positive, metavar="SECONDS", help="Timeout of a request.")
    ] = 30.0
    seed: Annotated[int, typer.Option(help="Random seed of the arrivals.")] = 0
    data: Annotated[Path, typer.Option(help="Vectors to send (.npz).", show_default=False)] = (
        streams.SAMPLE
    )
    token: Annotated[
        str | None,
        typer.Option(help="Viewer token; with it, the plot shows the weight of the rollout."),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="NEXTVEC_API_KEY",
            show_envvar=True,
            help="API key of the predictions, where the server wants one.",
        ),
    ] = None
    overload: Annotated[
        float | None,
        typer.Option(
            parser=positive,
            metavar="FACTOR",
            help="Measure the capacity with steps and contexts mixed, then send FACTOR times as "
            "much for --duration, with probes on new connections; --mode and --rate do not "
            "count. With an operator's --token, aborts are among the probes.",
        ),
    ] = None
    out: Annotated[Path, typer.Option(help="Directory for the report.")] = Path("out/loadtest")
    output: OutputFormat = "text"


@app.command(
    epilog=examples(
        "nextvec loadtest",
        "nextvec loadtest --mode stateless --context 500 --rate 5 --duration 60",
        "nextvec loadtest --overload 3 --duration 60 --context 500",
        "nextvec loadtest --output json",
    )
)
@with_options(LoadTestOptions)
def loadtest(options: LoadTestOptions) -> None:
    """Send traffic to a server at a fixed rate and report its latencies.

    Requests are sent when they are due, whether or not earlier ones have been answered.
    """
    try:
        data = streams.load(options.data)
        client = HttpClient(options.url, options.timeout, options.api_key)
    except (streams.StreamError, ValueError) as error:
        raise SystemExit(f"nextvec loadtest: {error}") from error
    console = make_console(stderr=options.output == "json")
    if options.overload is not None:
        _overload(options, options.overload, client, data, console)
        return
    try:
        driver, samples = run_fast(_drive(options, client, data, console))
    except ClientError as error:
        raise SystemExit(f"nextvec loadtest: {error}; is the server up (nextvec serve)?") from error
    except AdminError as error:
        raise SystemExit(f"nextvec loadtest: {error}; is --token right?") from error
    result = summary.summarise(
        driver.requests,
        {
            name: getattr(options, name)
            for name in ("mode", "rate", "arrivals", "duration", "callers", "seed")
        }
        | (
            {"context": options.context, "key": options.key}
            if options.mode == "stateless"
            else {"session_length": options.session_length}
        ),
    )
    summary.write(result, options.out)
    picture = options.out / "latency.png"
    plots.draw_run(
        driver.requests, samples, f"{options.mode}, {options.rate:g} requests/s", picture
    )
    if options.output == "json":
        print_json_file(options.out / "report.json")
    else:
        console.print(table(result))
        console.print(f"{options.out / 'report.md'}, {options.out / 'report.json'}, {picture}")
    if problem := result.problem():
        console.print(f"nextvec loadtest: {problem}", style="red", markup=False)
        raise typer.Exit(1)


def _overload(
    options: LoadTestOptions,
    factor: float,
    client: HttpClient,
    data: streams.Streams,
    console: Console,
) -> None:
    """Run the overload test, and exit with 1 if a target was missed."""
    try:
        run = run_fast(
            run_overload(
                client,
                data,
                target=FloodTarget(*client.address, options.api_key),
                factor=factor,
                duration=options.duration,
                context=options.context,
                session_length=options.session_length,
                seed=options.seed,
                token=options.token,
            )
        )
    except ClientError as error:
        raise SystemExit(f"nextvec loadtest: {error}; is the server up (nextvec serve)?") from error
    picture = overload_report.write(run, options.out)
    if options.output == "json":
        print_json_file(options.out / "overload.json")
    shown = Table(title=f"{factor:g} times the capacity", box=box.SIMPLE, pad_edge=False)
    for heading in ("", "", "target"):
        shown.add_column(heading)
    found = overload_report.figures(run)
    for figure in found:
        met = "" if figure.met is None else "met" if figure.met else "missed"
        shown.add_row(figure.name, figure.value, met)
    console.print(shown)
    console.print(f"{options.out / 'overload.json'}, {picture}")
    if any(figure.met is False for figure in found):
        raise typer.Exit(1)


def _caption(result: summary.LoadTestReport) -> str:
    """What the latencies are, and how far this machine was behind with its requests."""
    text = "latencies in ms, from when a request was due to its whole response"
    if result.late:
        milliseconds = LATE_SECONDS * 1000
        text += (
            f"; this machine sent {result.late} requests more than {milliseconds:.0f} ms after "
            "they were due, and their latency includes that"
        )
    return text


def table(result: summary.LoadTestReport) -> Table:
    """Return the report as a terminal table."""
    shown = Table(
        title=f"{result.count} requests, {result.errors} failed",
        caption=_caption(result),
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    for i, heading in enumerate(summary.HEADINGS):
        shown.add_column(heading, justify="left" if i < 2 else "right", no_wrap=True)
    for row in result.rows:
        shown.add_row(*row.cells())
    return shown


async def _drive(
    options: LoadTestOptions, client: HttpClient, data: streams.Streams, console: Console
) -> tuple[OpenLoopDriver, list[RolloutSample]]:
    # A new name: a run must not reuse the sessions of an earlier run.
    name = secrets.token_hex(4)
    if options.mode == "stateless":
        who = callers.make_stateless_callers(
            client, data, options.callers, options.context, name, options.key
        )
    else:
        who = callers.make_session_callers(
            client, data, options.callers, options.session_length, name
        )
    driver = OpenLoopDriver(who, SystemClock())
    admin = RolloutClient(options.url, options.token, driver.now) if options.token else None
    samples: list[RolloutSample] = []
    arrivals = (
        poisson_arrivals(options.rate, options.seed)
        if options.arrivals == "poisson"
        else constant_arrivals(options.rate)
    )
    background: list[asyncio.Task[None]] = []
    try:
        ready = await client.request("GET", "/v2/health/ready")
        if ready.status != 200:
            raise ClientError(f"the server is not ready: status {ready.status}")
        if admin is not None:
            await admin.status()  # report a wrong token now, not after the run
            background.append(asyncio.create_task(watch_rollout(admin, 1.0, samples)))
        if _in_foreground(console):
            background.append(asyncio.create_task(_show(options, driver, samples, console)))
        await driver.run(arrivals_before(arrivals, options.duration))
    finally:
        for task in background:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        client.close()
        if admin is not None:
            await admin.close()
    return driver, samples


def _in_foreground(console: Console) -> bool:
    """Whether progress disturbs nobody: in the background of a terminal it would overwrite what
    another command shows."""
    if sys.platform == "win32":  # it has no process groups of a terminal
        return True
    shown_on = console.file if console.is_terminal else sys.stderr
    if not shown_on.isatty():
        return True
    try:
        return os.tcgetpgrp(shown_on.fileno()) == os.getpgrp()
    except OSError:
        return False


async def _show(
    options: LoadTestOptions, driver: OpenLoopDriver, samples: list[RolloutSample], console: Console
) -> None:
    def line() -> str:
        now = driver.now()
        recent = window_p95(driver.requests, now, 10.0)
        shown = ", ".join(f"{v or 'none'} {p * 1000:.1f} ms" for v, p in recent.items())
        weight = f"   weight {samples[-1].weight:g} %" if samples else ""
        errors = sum(not request.ok for request in driver.requests)
        return (
            f"{now:5.1f} of {options.duration:g} s   {len(driver.requests)} answers, "
            f"{errors} failed   P95 of 10 s: {shown or '-'}{weight}"
        )

    with LiveView(console) as live:
        while True:
            await asyncio.sleep(0.5)
            live.show(line)
