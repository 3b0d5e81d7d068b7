"""`nextvec demo`: the whole story on one machine, in two acts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson
from rich.console import Console
from rich.live import Live

from loadtest import streams
from loadtest.demo import environment, scenario
from loadtest.demo.picture import draw_demo
from loadtest.demo.run import ActRun, run_act
from loadtest.demo.view import Narrator, act_results, results_table
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError
from loadtest.rollout_client import AdminError
from service.clock import Clock, SystemClock

_READY_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=Path("checkpoints"),
        help="where phase-2.safetensors and phase-3.safetensors are (%(default)s)",
    )
    parser.add_argument("--data", type=Path, default=streams.SAMPLE, help="an .npz of vectors")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="%(default)s")


def run(args: argparse.Namespace) -> int:
    console = Console()
    clock = SystemClock()
    began = clock.monotonic()
    environment.exit_on_sigterm()
    try:
        checkpoints = _checkpoints(args.checkpoints)
        data = streams.load(args.data)
        args.out.mkdir(parents=True, exist_ok=True)
        models = args.out / "models"
        for version, checkpoint in checkpoints.items():
            _export(models, version, checkpoint, args.out, console)
        with environment.run_server(models, args.out) as server:
            with console.status("starting the server"):
                run_fast(server.ready(clock, _READY_SECONDS))
            console.print(f"serving {scenario.STABLE} and {scenario.CANARY} at {server.url}")
            act_runs = [
                _act(number, act, server, data, clock, began, console)
                for number, act in enumerate(scenario.ACTS, start=1)
            ]
    except (
        environment.EnvironmentSetupError,
        streams.StreamError,
        ClientError,
        AdminError,
        OSError,
    ) as error:
        raise SystemExit(f"nextvec demo: {error}") from error
    picture = args.out / "demo.png"
    draw_demo(act_runs, picture)
    shown = orjson.dumps(act_results(act_runs), option=orjson.OPT_INDENT_2)
    (args.out / "demo.json").write_bytes(shown)
    console.print(results_table(act_runs))
    console.print(f"{picture}   ({clock.monotonic() - began:.0f} s in all)")
    wrong = [
        f"act {number}: {problem}"
        for number, act_run in enumerate(act_runs, start=1)
        for problem in act_run.problems
    ]
    for line in wrong:
        print(f"nextvec demo: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _checkpoints(directory: Path) -> dict[str, Path]:
    found = {name: directory / f"{name}.safetensors" for name in scenario.WINDOWS}
    for name, path in found.items():
        if not path.is_file():
            raise environment.EnvironmentSetupError(
                f"{path} is missing; run this from the repository's root, name the folder "
                f"with --checkpoints, or make one with: nextvec train {name}"
            )
    return found


def _export(models: Path, version: str, checkpoint: Path, out: Path, console: Console) -> None:
    if environment.is_export_current(models, version, checkpoint, scenario.WINDOWS[version]):
        console.print(f"{version}: exported before from the same checkpoint")
        return
    with console.status(f"exporting {checkpoint} and comparing it with PyTorch"):
        environment.export_version(
            models, version, checkpoint, out / f"export-{version}.log", scenario.WINDOWS[version]
        )
    console.print(f"{version}: exported from {checkpoint}")


def _act(
    number: int,
    act: scenario.Act,
    server: environment.ServerProcess,
    data: streams.Streams,
    clock: Clock,
    began: float,
    console: Console,
) -> ActRun:
    console.print(f"\n[bold]Act {number}[/bold]: {act.title}")
    seconds = scenario.time_limit(act, clock.monotonic() - began)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        narrator = Narrator(live)
        act_run = run_fast(run_act(act, server, data, clock, seconds, narrator.show))
    if not act_run.problems:
        console.print(f"  Expected result: {scenario.CANARY} was {act.expected}.", style="green")
    return act_run
