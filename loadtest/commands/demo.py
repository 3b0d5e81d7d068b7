"""`nextvec demo`: a promotion and a rollback on one machine, in two acts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from loadtest import streams
from loadtest.demo import environment, scenario
from loadtest.demo.picture import draw_demo
from loadtest.demo.run import ActRun, run_act
from loadtest.demo.view import Narrator, act_results, results_table
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError
from loadtest.rollout_client import AdminError
from service.clock import Clock, SystemClock
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    print_json_file,
)
from service.commands.progress import LiveView, working
from service.commands.terminal import make_console

_READY_SECONDS = 60.0


app = new_app()


@app.command(epilog=examples("nextvec demo", "nextvec demo --out /tmp/demo"))
def demo(
    checkpoints: Annotated[
        Path, typer.Option(help="Directory of phase-2.safetensors and phase-3.safetensors.")
    ] = Path("checkpoints"),
    data: Annotated[Path, typer.Option(help="Vectors to send (.npz).", show_default=False)] = (
        streams.SAMPLE
    ),
    out: Annotated[Path, typer.Option(help="Directory for the results.")] = Path("out/demo"),
    output: OutputFormat = "text",
) -> None:
    """Run the complete demo on this machine, in two acts.

    The first act resends whole contexts, where Phase-3 is slower and is rolled back. The
    second uses sessions, where Phase-3 is as fast as Phase-2 and is promoted.
    """
    console = make_console(stderr=output == "json")
    clock = SystemClock()
    began = clock.monotonic()
    environment.exit_on_sigterm()
    try:
        paths = _checkpoints(checkpoints)
        vectors = streams.load(data)
        out.mkdir(parents=True, exist_ok=True)
        models = out / "models"
        _export(models, paths, out, console)
        with environment.run_server(models, out) as server:
            with working(console, "starting the server"):
                run_fast(server.ready(clock, _READY_SECONDS))
            console.print(f"serving {scenario.STABLE} and {scenario.CANARY} at {server.url}")
            console.print("To watch, and to press the buttons, open this link. It works once:")
            # Not wrapped, so that a terminal recognizes the link.
            console.print(f"  {server.console_link}", style="bold", soft_wrap=True, highlight=False)
            act_runs = [
                _act(number, act, server, vectors, clock, began, console)
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
    picture = out / "demo.png"
    draw_demo(act_runs, picture)
    shown = orjson.dumps(act_results(act_runs), option=orjson.OPT_INDENT_2)
    (out / "demo.json").write_bytes(shown)
    console.print(results_table(act_runs))
    console.print(f"\nThe picture: {picture}   ({clock.monotonic() - began:.0f} s in all)")
    if output == "json":
        print_json_file(out / "demo.json")
    wrong = [
        f"act {number}: {problem}"
        for number, act_run in enumerate(act_runs, start=1)
        for problem in act_run.problems
    ]
    for line in wrong:
        print(f"nextvec demo: {line}", file=sys.stderr)
    if wrong:
        raise typer.Exit(1)


def _checkpoints(directory: Path) -> dict[str, Path]:
    paths = {name: directory / f"{name}.safetensors" for name in scenario.WINDOWS}
    for name, path in paths.items():
        if not path.is_file():
            raise environment.EnvironmentSetupError(
                f"{path} is missing; run this from the repository's root, name the folder "
                f"with --checkpoints, or make one with: nextvec train {name}"
            )
    return paths


def _export(models: Path, paths: Mapping[str, Path], out: Path, console: Console) -> None:
    """Export the versions that are not current, side by side: one core each."""
    windows = scenario.WINDOWS
    due = {
        version: path
        for version, path in paths.items()
        if not environment.is_export_current(models, version, path, windows[version])
    }
    for version in paths.keys() - due.keys():
        console.print(f"{version}: already exported from the same checkpoint")
    if not due:
        return
    names = " and ".join(due)
    with (
        working(console, f"exporting {names}, and comparing the graphs with the networks"),
        ThreadPoolExecutor(len(due)) as pool,
    ):
        exports = [
            pool.submit(
                environment.export_version,
                models,
                version,
                path,
                out / f"export-{version}.log",
                windows[version],
            )
            for version, path in due.items()
        ]
        for export in exports:
            export.result()
    console.print(f"{names}: exported from {', '.join(str(path) for path in due.values())}")


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
    with LiveView(console) as live:
        narrator = Narrator(live)
        act_run = run_fast(run_act(act, server, data, clock, seconds, narrator.show))
    if not act_run.problems:
        console.print(f"  Expected result: {scenario.CANARY} was {act.expected}.", style="green")
    return act_run
