"""`nextvec fleet`: a fleet on this machine, and the drill that proves what it promises."""

from __future__ import annotations

import asyncio
import shutil
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import httpx
import orjson
import typer
from rich.console import Console

from loadtest import streams
from loadtest.demo import environment
from loadtest.demo.scenario import WINDOWS
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
from loadtest.fleet.sizing import FleetLoad, size_fleet
from loadtest.fleet.supervisor import keep_running
from loadtest.fleet.versions import MODEL, export_missing
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError
from service.clock import SystemClock
from service.commands.options import (
    CommandWithLists,
    OutputFormat,
    examples,
    new_app,
    positive,
    with_options,
)
from service.commands.terminal import make_console

app = new_app(
    no_args_is_help=True,
    help="Run a fleet on this machine, and prove that it loses nothing.",
    epilog=examples("nextvec fleet up", "nextvec fleet drill"),
)

Durability = Literal["async", "sync"]
WhenStoreDown = Literal["serve", "refuse"]
Replicas = Annotated[int, typer.Option(min=1, max=MOST_REPLICAS, help="Number of replicas.")]
_LEAST_WINDOW = 100


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    """Options of `nextvec fleet up`."""

    replicas: Replicas = 3
    port: Annotated[
        int,
        typer.Option(min=1, max=65_500, help="Port of the load balancer; the others follow it."),
    ] = 8080
    folder: Annotated[
        Path, typer.Option(help="Data, logs and passwords; a later start continues with them.")
    ] = Path("out/fleet")
    models: Annotated[Path, typer.Option(help="Directory of exported models.")] = Path("models")
    checkpoints: Annotated[
        Path, typer.Option(help="Checkpoints of versions that are not exported yet.")
    ] = Path("checkpoints")
    stable: Annotated[str, typer.Option(help="Stable version.")] = "phase-2"
    canary: Annotated[str, typer.Option(help="Version to load beside it.")] = "phase-3"
    durability: Annotated[
        Durability, typer.Option(help="Whether an answer waits until its vectors are stored.")
    ] = "async"
    when_store_down: Annotated[
        WhenStoreDown, typer.Option(help="What an append gets while Redis is down.")
    ] = "refuse"


@app.command(
    epilog=examples(
        "nextvec fleet up", "nextvec fleet up --replicas 5 --durability sync --port 9000"
    )
)
@with_options(UpOptions)
def up(options: UpOptions) -> None:
    """Start replicas, Envoy, Redis, PostgreSQL and Prometheus on this machine.

    A process that ends is started again. Ctrl-C stops all. The next start continues with the same
    sessions and the same rollout.
    """
    console = make_console()
    environment.exit_on_sigterm()
    # A shell starts background jobs with SIGINT ignored; asking for it later must stop the fleet.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    windows = {name: WINDOWS.get(name, _LEAST_WINDOW) for name in (options.stable, options.canary)}
    try:
        export_missing(options.models, options.checkpoints, windows, options.folder, console.print)
        ports = FleetPorts.fixed(options.port, options.replicas)
        with running_fleet(options.folder, ports, _fleet_options(options)) as fleet:
            console.print(f"Starting {options.replicas} replicas and their stores")
            with suppress(KeyboardInterrupt):
                asyncio.run(_serve(fleet, console))
            console.print("Stopping")
    except (environment.EnvironmentSetupError, OSError) as error:
        raise SystemExit(f"nextvec fleet up: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


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


@app.command(
    cls=CommandWithLists,
    epilog=examples(
        "nextvec fleet drill",
        "nextvec fleet drill --kills 100 --durability sync",
        "nextvec fleet drill --durability async --when-store-down serve --seed 7",
        "nextvec fleet drill --url http://127.0.0.1:8080 --models models --seconds 300",
    ),
)
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


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """Options of `nextvec fleet size`."""

    sessions: Annotated[int, typer.Option(min=1, max=10**10, help="Sessions at a time.")] = 10**6
    steps: Annotated[
        float, typer.Option(parser=positive, metavar="NUMBER", help="Steps a second, of all.")
    ] = 1e5
    history: Annotated[
        int, typer.Option(min=1, max=10**6, help="Vectors kept of each (sessions.history_vectors).")
    ] = 1000
    replica_steps: Annotated[
        float,
        typer.Option(
            parser=positive,
            metavar="NUMBER",
            help="Steps a second at which one replica is full; measure yours.",
        ),
    ] = 1700.0
    redis_gigabytes: Annotated[
        float, typer.Option(parser=positive, metavar="GB", help="Memory of one Redis.")
    ] = 64.0
    output: OutputFormat = "text"


@app.command(
    epilog=examples(
        "nextvec fleet size --sessions 1000000 --steps 100000",
        "nextvec fleet size --sessions 50000 --steps 5000 --history 500 --replica-steps 4500",
    )
)
@with_options(SizeOptions)
def size(options: SizeOptions) -> None:
    """Size a fleet by arithmetic on measured figures. Nothing is run.

    Half of each replica and of each Redis is kept free, and a quarter of Redis's memory.
    """
    load = FleetLoad(
        sessions=options.sessions,
        steps=options.steps,
        history=options.history,
        replica_steps=options.replica_steps,
        redis_bytes=options.redis_gigabytes * 1e9,
    )
    found = size_fleet(load)
    if options.output == "json":
        content = asdict(found) | {"redis": found.redis}
        print(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())
    else:
        view.print_size(Console(), load, found)


def _drill_own(options: DrillCommandOptions, console: Console) -> tuple[DrillRecord, Verification]:
    window = max(_LEAST_WINDOW, options.length)
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


def _fleet_options(options: UpOptions) -> FleetOptions:
    return FleetOptions(
        models=options.models,
        stable=options.stable,
        canary=options.canary,
        replicas=options.replicas,
        durability=options.durability,
        when_store_down=options.when_store_down,
    )


async def _serve(fleet: LocalFleet, console: Console) -> None:
    await fleet.start()
    ports = fleet.ports
    rows = {
        "callers, console": f"{fleet.url}, {fleet.url}/console",
        "replicas": ", ".join(fleet.replica_urls),
        "Prometheus": f"http://127.0.0.1:{ports.prometheus}",
        "Envoy's admin page": f"http://127.0.0.1:{ports.balancer_admin}",
        "Redis, PostgreSQL": f"127.0.0.1:{ports.redis}, 127.0.0.1:{ports.postgres}",
        "passwords, approver's token": str(fleet.folder / "secrets.json"),
        "logs": str(fleet.folder / "*.log"),
    }
    for title, address in rows.items():
        console.print(f"{title:28} {address}", markup=False, highlight=False, soft_wrap=True)
    console.print("Ctrl-C stops all.")
    await keep_running(fleet, lambda text: console.print(text, markup=False))
