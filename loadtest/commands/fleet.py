"""`nextvec fleet`: a fleet on this machine, its size, and the drill."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from loadtest.commands.fleet_drill import LEAST_WINDOW, Durability, Replicas, WhenStoreDown, drill
from loadtest.demo import environment
from loadtest.demo.scenario import WINDOWS
from loadtest.fleet.drill import view
from loadtest.fleet.fleet import FleetOptions, LocalFleet, running_fleet
from loadtest.fleet.layout import FleetPorts
from loadtest.fleet.sizing import FleetLoad, size_fleet
from loadtest.fleet.supervisor import keep_running
from loadtest.fleet.versions import export_missing
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
    windows = {name: WINDOWS.get(name, LEAST_WINDOW) for name in (options.stable, options.canary)}
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


app.command(
    cls=CommandWithLists,
    epilog=examples(
        "nextvec fleet drill",
        "nextvec fleet drill --kills 100 --durability sync",
        "nextvec fleet drill --durability async --when-store-down serve --seed 7",
        "nextvec fleet drill --url http://127.0.0.1:8080 --models models --seconds 300",
    ),
)(drill)


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
