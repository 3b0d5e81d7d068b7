"""`nextvec loadtest`: real streams at a server, and a report with pictures."""

from __future__ import annotations

import argparse
import asyncio
import secrets
from contextlib import suppress
from pathlib import Path

from rich import box
from rich.console import Console
from rich.live import Live
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
from loadtest.report import plots, summary
from loadtest.report.latency import window_p95
from loadtest.rollout_client import AdminError, RolloutClient, RolloutSample, watch_rollout
from service.clock import SystemClock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the server (%(default)s)")
    parser.add_argument(
        "--mode",
        choices=("stateless", "session"),
        default="session",
        help="the whole context with every request, or one vector a request (%(default)s)",
    )
    parser.add_argument("--rate", type=_positive, default=20.0, help="requests a second")
    parser.add_argument("--duration", type=_positive, default=30.0, help="seconds (%(default)s)")
    parser.add_argument(
        "--arrivals",
        choices=("poisson", "constant"),
        default="poisson",
        help="independent of each other, or evenly apart (%(default)s)",
    )
    parser.add_argument(
        "--context", type=_count, default=1000, help="stateless: vectors a request (%(default)s)"
    )
    parser.add_argument(
        "--session-length", type=_count, default=60, help="vectors a session (%(default)s)"
    )
    parser.add_argument(
        "--callers", type=_count, default=256, help="requests in flight at most (%(default)s)"
    )
    parser.add_argument(
        "--key",
        choices=("request", "caller"),
        default="request",
        help="stateless: draw the variant anew for each request, or once a caller (%(default)s)",
    )
    parser.add_argument("--timeout", type=_positive, default=30.0, help="seconds (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (%(default)s)")
    parser.add_argument("--data", type=Path, default=streams.SAMPLE, help="an .npz of vectors")
    parser.add_argument("--token", help="viewer token; with it the rollout's weight is drawn too")
    parser.add_argument("--out", type=Path, default=Path("out/loadtest"), help="%(default)s")


def run(args: argparse.Namespace) -> int:
    try:
        data = streams.load(args.data)
        client = HttpClient(args.url, args.timeout)
    except (streams.StreamError, ValueError) as error:
        raise SystemExit(f"nextvec loadtest: {error}") from error
    console = Console()
    try:
        driver, samples = run_fast(_drive(args, client, data, console))
    except (ClientError, AdminError) as error:
        raise SystemExit(
            f"nextvec loadtest: {error}; is the server up (nextvec serve) and the token right?"
        ) from error
    result = summary.summarise(
        driver.requests,
        {
            name: getattr(args, name)
            for name in ("mode", "rate", "arrivals", "duration", "callers", "seed")
        }
        | (
            {"context": args.context, "key": args.key}
            if args.mode == "stateless"
            else {"session_length": args.session_length}
        ),
    )
    summary.write(result, args.out)
    picture = args.out / "latency.png"
    plots.draw_run(driver.requests, samples, f"{args.mode}, {args.rate:g} requests/s", picture)
    console.print(table(result))
    console.print(f"{args.out / 'report.md'}, {args.out / 'report.json'}, {picture}")
    if problem := result.problem():
        console.print(f"nextvec loadtest: {problem}", style="red", markup=False)
        return 1
    return 0


def table(result: summary.LoadTestReport) -> Table:
    """The report's rows for a terminal."""
    shown = Table(
        title=f"{result.count} requests, {result.errors} failed, {result.late} sent late",
        caption="latencies in ms, from when a request was due",
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
    args: argparse.Namespace, client: HttpClient, data: streams.Streams, console: Console
) -> tuple[OpenLoopDriver, list[RolloutSample]]:
    # A name of its own: a run must not meet the sessions of the one before.
    name = secrets.token_hex(4)
    if args.mode == "stateless":
        who = callers.make_stateless_callers(
            client, data, args.callers, args.context, name, args.key
        )
    else:
        who = callers.make_session_callers(client, data, args.callers, args.session_length, name)
    driver = OpenLoopDriver(who, SystemClock())
    admin = RolloutClient(args.url, args.token, driver.now) if args.token else None
    samples: list[RolloutSample] = []
    arrivals = (
        poisson_arrivals(args.rate, args.seed)
        if args.arrivals == "poisson"
        else constant_arrivals(args.rate)
    )
    background: list[asyncio.Task[None]] = []
    try:
        ready = await client.request("GET", "/v2/health/ready")
        if ready.status != 200:
            raise ClientError(f"the server is not ready: status {ready.status}")
        if admin is not None:
            await admin.status()  # a wrong token is told now, not after the run
            background.append(asyncio.create_task(watch_rollout(admin, 1.0, samples)))
        background.append(asyncio.create_task(_show(args, driver, samples, console)))
        await driver.run(arrivals_before(arrivals, args.duration))
    finally:
        for task in background:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        client.close()
        if admin is not None:
            await admin.close()
    return driver, samples


async def _show(
    args: argparse.Namespace, driver: OpenLoopDriver, samples: list[RolloutSample], console: Console
) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            await asyncio.sleep(0.5)
            now = driver.now()
            recent = window_p95(driver.requests, now, 10.0)
            shown = ", ".join(f"{v or 'none'} {p * 1000:.1f} ms" for v, p in recent.items())
            weight = f"   weight {samples[-1].weight:g} %" if samples else ""
            errors = sum(not request.ok for request in driver.requests)
            live.update(
                f"{now:5.1f} of {args.duration:g} s   {len(driver.requests)} answers, "
                f"{errors} failed   P95 of 10 s: {shown or '-'}{weight}",
                refresh=True,
            )


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number over 0")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (value := int(text)) >= 1:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a count of at least 1")
