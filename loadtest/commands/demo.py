"""`nextvec demo`: the whole story on one machine, in two acts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson
from rich.console import Console
from rich.live import Live

from loadtest import stage, story, streams
from loadtest.client import ClientError
from loadtest.demo_picture import draw
from loadtest.demo_view import Narrator, figures, final_table
from loadtest.loop import run_fast
from loadtest.performance import Performance, perform
from loadtest.watch import AdminError
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
    stage.stop_in_order()
    try:
        checkpoints = _checkpoints(args.checkpoints)
        data = streams.load(args.data)
        args.out.mkdir(parents=True, exist_ok=True)
        models = args.out / "models"
        for version, checkpoint in checkpoints.items():
            _export(models, version, checkpoint, args.out, console)
        with stage.serving(models, args.out) as server:
            with console.status("starting the server"):
                run_fast(server.ready(clock, _READY_SECONDS))
            console.print(f"serving {story.STABLE} and {story.CANARY} at {server.url}")
            performances = [
                _act(number, act, server, data, clock, began, console)
                for number, act in enumerate(story.ACTS, start=1)
            ]
    except (stage.StageError, streams.StreamError, ClientError, AdminError, OSError) as error:
        raise SystemExit(f"nextvec demo: {error}") from error
    picture = args.out / "demo.png"
    draw(performances, picture)
    shown = orjson.dumps(figures(performances), option=orjson.OPT_INDENT_2)
    (args.out / "demo.json").write_bytes(shown)
    console.print(final_table(performances))
    console.print(f"{picture}   ({clock.monotonic() - began:.0f} s in all)")
    wrong = [
        f"act {number}: {problem}"
        for number, played in enumerate(performances, start=1)
        for problem in played.problems
    ]
    for line in wrong:
        print(f"nextvec demo: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _checkpoints(directory: Path) -> dict[str, Path]:
    found = {name: directory / f"{name}.safetensors" for name in story.WINDOWS}
    for name, path in found.items():
        if not path.is_file():
            raise stage.StageError(
                f"{path} is missing; run this from the repository's root, name the folder "
                f"with --checkpoints, or make one with: nextvec train {name}"
            )
    return found


def _export(models: Path, version: str, checkpoint: Path, out: Path, console: Console) -> None:
    if stage.is_current(models, version, checkpoint, story.WINDOWS[version]):
        console.print(f"{version}: exported before from the same checkpoint")
        return
    with console.status(f"exporting {checkpoint} and comparing it with PyTorch"):
        stage.export(
            models, version, checkpoint, out / f"export-{version}.log", story.WINDOWS[version]
        )
    console.print(f"{version}: exported from {checkpoint}")


def _act(
    number: int,
    act: story.Act,
    server: stage.Server,
    data: streams.Streams,
    clock: Clock,
    began: float,
    console: Console,
) -> Performance:
    console.print(f"\n[bold]Act {number}[/bold]: {act.title}")
    seconds = story.limit(act, clock.monotonic() - began)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        narrator = Narrator(live)
        played = run_fast(perform(act, server, data, clock, seconds, narrator.show))
    if not played.problems:
        console.print(f"  as it must: {story.CANARY} was {act.expected}", style="green")
    return played
