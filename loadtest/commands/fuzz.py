"""`nextvec fuzz`: malformed input; fails if the server answers 5xx, hangs, grows or dies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.demo import environment
from loadtest.fuzz.run import FuzzBounds, FuzzRun, run_fuzz
from loadtest.fuzz.schema import SchemaFuzzError, SchemaFuzzResult, fuzz_schema
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError
from loadtest.target_server import TargetServer, started_server
from service.clock import SystemClock
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    positive,
    with_options,
)
from service.commands.progress import LiveView, working
from service.commands.terminal import make_console, print_json

app = new_app()

_SCHEMA_SHARE = 1 / 3


@dataclass(frozen=True, kw_only=True)
class FuzzOptions:
    """Options of `nextvec fuzz`."""

    seconds: Annotated[
        float, typer.Option(parser=positive, metavar="SECONDS", help="Length of the run.")
    ] = 60.0
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0
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
        typer.Option(
            help="With --url: an admin token. The admin routes are then called with effect: "
            "rollouts start, versions are unloaded."
        ),
    ] = None
    schema: Annotated[
        bool, typer.Option(help="Make requests from the OpenAPI document, with schemathesis.")
    ] = True
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint for the server to start.")] = Path(
        "checkpoints/phase-2.safetensors"
    )
    out: Annotated[Path, typer.Option(help="Directory for inputs that failed.")] = Path("out/fuzz")
    output: OutputFormat = "text"


@app.command(
    epilog=examples(
        "nextvec fuzz",
        "nextvec fuzz --seconds 600 --seed 7",
        "nextvec fuzz --url http://127.0.0.1:8080 --pid 4242 --no-schema",
    )
)
@with_options(FuzzOptions)
def fuzz(options: FuzzOptions) -> None:
    """Send malformed input to a server and check that it survives.

    A third of the time goes to requests made from the OpenAPI document, the rest to mutated bytes
    on bare sockets (heads, framing, chunks, trailers, pipelines) and to odd tensors. The exit
    status is 1 after a 5xx, a health probe without an answer, the server's end, or growth. An input
    that failed is kept in the output directory: send it again with `nc HOST PORT < FILE`.
    """
    console = make_console(stderr=options.output == "json")
    environment.exit_on_sigterm()
    options.out.mkdir(parents=True, exist_ok=True)
    schema = None
    share = 1 - _SCHEMA_SHARE if options.schema else 1.0
    try:
        with _target(options, console) as target:
            with LiveView(console) as live:
                run = run_fast(
                    run_fuzz(
                        target,
                        SystemClock(),
                        options.seconds * share,
                        options.seed,
                        options.out,
                        lambda run: live.show(lambda: last_line(run, None, [])),
                    )
                )
            if options.schema and not run.died:
                seconds = options.seconds * _SCHEMA_SHARE
                with working(console, "schemathesis"):
                    schema = fuzz_schema(
                        target.url, target.token, seconds, options.seed, options.out.resolve()
                    )
            run.tracebacks = target.count_tracebacks()
    except (environment.EnvironmentSetupError, SchemaFuzzError, ClientError, OSError) as error:
        raise SystemExit(f"nextvec fuzz: {error}") from error
    problems = run.problems(FuzzBounds())
    if schema is not None and schema.failures:
        problems.append(f"{schema.failures} test cases of schemathesis failed: {schema.report}")
    for path in run.failures[:10]:
        console.print(f"{path}", markup=False)
    for problem in problems:
        console.print(f"nextvec fuzz: {problem}", style="red", markup=False)
    console.print(last_line(run, schema, problems), markup=False, soft_wrap=True)
    if options.output == "json":
        print_json(
            {
                "inputs": dict(run.inputs),
                "statuses": {str(status): count for status, count in run.statuses.items()},
                "server_errors": run.server_errors,
                "hangs": run.hangs,
                "probes": run.probes,
                "died": run.died,
                "memory_growth_mb": run.rss_growth_mb,
                "schema": schema and {**schema._asdict(), "report": str(schema.report)},
                "failures": [str(path) for path in run.failures],
                "problems": problems,
            }
        )
    if problems:
        raise typer.Exit(1)


def last_line(run: FuzzRun, schema: SchemaFuzzResult | None, problems: list[str]) -> str:
    """The counts, on one line."""
    classes = {n: sum(c for s, c in run.statuses.items() if s // 100 == n) for n in (2, 4)}
    cases = "" if schema is None else f", schema {schema.cases} cases, {schema.failures} failed"
    # Not measured before the end, nor for a server on another machine.
    memory = "" if math.isnan(run.rss_growth_mb) else f"memory {run.rss_growth_mb:+.0f} MB, "
    return (
        f"fuzz: {run.inputs['bytes']} mutated requests, {run.inputs['tensors']} odd tensors"
        f"{cases}; {classes[2]} 2xx, {classes[4]} 4xx, {run.statuses[504]} 504, "
        f"{run.server_errors} other 5xx, {run.hangs} hangs in {run.probes} probes, "
        f"{int(run.died)} deaths, {memory}{len(problems)} problems"
    )


@contextmanager
def _target(options: FuzzOptions, console: Console) -> Iterator[TargetServer]:
    if options.url is not None:
        yield TargetServer(options.url, options.token, options.pid)
        return
    console.print("Starting a server")
    with started_server(options.checkpoint, options.out) as target:
        yield target
