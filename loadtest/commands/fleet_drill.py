"""`nextvec fleet drill`: the proof that a fleet loses nothing."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import httpx
import orjson
import typer
from rich.console import Console

from loadtest import streams
from loadtest.demo import environment
from loadtest.fleet import stores
from loadtest.fleet.drill import view
from loadtest.fleet.drill.faults import DEFAULT_KINDS, FaultKind, make_schedule
from loadtest.fleet.drill.oracle import DISTANCE_INT8, Oracle, Verification
from loadtest.fleet.drill.picture import draw_drill
from loadtest.fleet.drill.record import DrillRecord
from loadtest.fleet.drill.report import Promises, make_report
from loadtest.fleet.drill.run import DrillOptions, drive_only, run_drill
from loadtest.fleet.fleet import FleetOptions, LocalFleet, running_fleet
from loadtest.fleet.layout import MOST_REPLICAS, FleetPorts
from loadtest.fleet.versions import MODEL, export_missing
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError
from service.clock import SystemClock
from service.commands.options import (
    OutputFormat,
    positive,
    with_options,
)
from service.commands.terminal import make_console

Durability = Literal["async", "sync"]
WhenStoreDown = Literal["serve", "refuse"]
Replicas = Annotated[int, typer.Option(min=1, max=MOST_REPLICAS, help="Number of replicas.")]
LEAST_WINDOW = 100
"""Vectors: the smallest window that a fleet's versions are exported for."""


@dataclass(frozen=True, kw_only=True)
class DrillCommandOptions:
    """Options of `nextvec fleet drill`."""

    seconds: Annotated[
        float, typer.Option(parser=positive, metavar="SECONDS", help="Shortest length of the run.")
    ] = 60.0
    kills: Annotated[int, typer.Option(min=0, max=10_000, help="kill -9 of replicas.")] = 5
    faults: Annotated[
        list[FaultKind] | None,
        typer.Option(help="Kinds of faults; all but `all`, which kills all replicas at once."),
    ] = None
    replicas: Replicas = 3
    durability: Annotated[
        Durability, typer.Option(help="What the fleet promises: sync loses nothing.")
    ] = "sync"
    when_store_down: Annotated[
        WhenStoreDown, typer.Option(help="What an append gets while Redis is down.")
    ] = "refuse"
    sessions: Annotated[int, typer.Option(min=1, max=10_000, help="Sessions at a time.")] = 24
    rate: Annotated[
        float, typer.Option(parser=positive, metavar="NUMBER", help="Appends a second, in total.")
    ] = 100.0
    length: Annotated[int, typer.Option(min=2, max=4000, help="Vectors of each session.")] = 64
    rollout: Annotated[bool, typer.Option(help="Keep a rollout going through its steps.")] = True
    failed: Annotated[
        int, typer.Option(min=0, help="Failed requests that are accepted, of all.")
    ] = 0
    seed: Annotated[int, typer.Option(help="Of the schedule.")] = 1
    url: Annotated[
        str | None,
        typer.Option(help="Drive this fleet instead, and leave its faults to others."),
    ] = None
    models: Annotated[
        Path | None, typer.Option(help="With --url: the versions that it serves.")
    ] = None
    checkpoints: Annotated[Path, typer.Option(help="Checkpoints of both versions.")] = Path(
        "checkpoints"
    )
    out: Annotated[Path, typer.Option(help="Directory for the plot, the report and the logs.")] = (
        Path("out/drill")
    )
    output: OutputFormat = "text"


@with_options(DrillCommandOptions)
def drill(options: DrillCommandOptions) -> None:
    """Kill the parts of a fleet under load, and compare every answer with the right one.

    Sessions are driven through the load balancer, with a position that each caller counts by
    itself. Each answer is compared with the exported graph, run directly. Meanwhile replicas are
    killed, stopped and restarted, Redis and PostgreSQL are killed, and a rollout goes through its
    steps. The exit status is 1 if anything is lost, doubled or wrong that the durability promises,
    if a request fails that should not, or if a decision is made twice.
    """
    console = make_console(stderr=options.output == "json")
    environment.exit_on_sigterm()
    promises = Promises(options.durability, options.when_store_down, options.failed)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if options.url is None:
            record, checked = _drill_own(options, console)
        else:
            record, checked = _drive_other(options, options.url, console)
    except (
        environment.EnvironmentSetupError,
        streams.StreamError,
        ClientError,
        httpx.HTTPError,
        OSError,
        ValueError,
    ) as error:
        raise SystemExit(f"nextvec fleet drill: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    report = make_report(record, checked, promises)
    content = orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2)
    (options.out / "drill.json").write_bytes(content)
    draw_drill(record, options.out / "drill.png")
    if options.output == "json":
        print(content.decode())
    else:
        view.print_report(console, report, promises)
        console.print(f"{options.out / 'drill.png'}, {options.out / 'drill.json'}")
    for problem in report.problems:
        console.print(f"nextvec fleet drill: {problem}", style="red", markup=False)
    if report.problems:
        raise typer.Exit(1)


def _drill_own(options: DrillCommandOptions, console: Console) -> tuple[DrillRecord, Verification]:
    window = max(LEAST_WINDOW, options.length)
    # Of this window's size alone: two drills of other lengths do not export again and again.
    models = options.out.parent / f"drill-models-{window}"
    versions = ("phase-2", "phase-3")
    export_missing(
        models,
        options.checkpoints,
        dict.fromkeys(versions, window),
        options.out,
        console.print,
        "--no-int8",
        replace=True,
    )
    data = streams.load()
    oracle = Oracle.of_repository(models, MODEL, versions, data)
    folder = options.out / "fleet"
    stores.remove_data(folder)
    shutil.rmtree(folder, ignore_errors=True)
    fleet_options = FleetOptions(
        models=models,
        stable=versions[0],
        canary=versions[1],
        replicas=options.replicas,
        durability=options.durability,
        when_store_down=options.when_store_down,
        prometheus=False,
        show_replica=True,
        settings={
            "NEXTVEC_ENGINE__PRECISION": "fp32",
            "NEXTVEC_ROLLOUT__INTERVAL_SECONDS": "1",
        },
    )
    schedule = make_schedule(
        options.faults or DEFAULT_KINDS, options.kills, options.replicas, options.seed
    )
    drill_options = _drill_options(options, versions if options.rollout else None)

    async def run(fleet: LocalFleet) -> tuple[DrillRecord, Verification]:
        await fleet.start()
        console.print(f"{len(schedule)} faults, {options.sessions} sessions", markup=False)
        return await run_drill(
            fleet,
            schedule,
            data,
            oracle,
            drill_options,
            SystemClock(),
            view.progress(console),
        )

    ports = FleetPorts.free(options.replicas)
    console.print(f"Starting {options.replicas} replicas and their stores")
    try:
        with running_fleet(folder, ports, fleet_options) as fleet:
            return run_fast(run(fleet))
    finally:
        stores.remove_data(folder)


def _drive_other(
    options: DrillCommandOptions, url: str, console: Console
) -> tuple[DrillRecord, Verification]:
    if options.models is None:
        raise SystemExit("nextvec fleet drill: with --url, --models must say what it serves")
    data = streams.load()
    names = sorted(path.parent.name for path in (options.models / MODEL).glob("*/manifest.json"))
    oracle = Oracle.of_repository(options.models, MODEL, names, data, DISTANCE_INT8)
    return run_fast(
        drive_only(
            url, data, oracle, _drill_options(options, None), SystemClock(), view.progress(console)
        )
    )


def _drill_options(options: DrillCommandOptions, versions: tuple[str, str] | None) -> DrillOptions:
    return DrillOptions(
        seconds=options.seconds,
        sessions=options.sessions,
        rate=options.rate,
        length=options.length,
        versions=versions,
    )
