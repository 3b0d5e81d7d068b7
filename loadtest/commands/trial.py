"""`nextvec trial`: check verdicts against a real server with a known canary."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import orjson
import typer
from rich.console import Console

from loadtest import streams
from loadtest.demo import environment
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError
from loadtest.report import plots
from loadtest.report.latency import window_p95
from loadtest.rollout_client import AdminError
from loadtest.trial.trial import (
    CANARY,
    SESSION_LENGTH,
    SHORT_SESSION,
    STABLE,
    Trial,
    run_trial,
)
from service.clock import SystemClock
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    print_json_file,
    with_options,
)
from service.commands.progress import LiveView, working
from service.commands.terminal import make_console

_READY_SECONDS = 60.0
_WINDOW = 500
_INTERVAL_SECONDS = 15.0


app = new_app()


@dataclass(frozen=True, kw_only=True)
class TrialOptions:
    """Options of `nextvec trial`."""

    kind: Annotated[
        Literal["same", "slowed", "noisy"],
        typer.Argument(
            help="The canary: the same version as stable, which must not be rolled back; or one "
            "slowed down, or with noise on its predictions, which must be."
        ),
    ]
    minutes: Annotated[float, typer.Option(help="Longest duration of a run.")] = 30.0
    runs: Annotated[int, typer.Option(help="Number of runs, one after the other.")] = 1
    factor: Annotated[
        float, typer.Option(help="slowed: the canary takes this many times as long.")
    ] = 1.5
    noise: Annotated[
        float,
        typer.Option(
            help="noisy: length of the noise added to each unit vector; 5 halves Hit@5 on the "
            "sample."
        ),
    ] = 5.0
    rate: Annotated[float, typer.Option(help="Requests per second.")] = 30.0
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint of both versions.")] = Path(
        "checkpoints/phase-2.safetensors"
    )
    data: Annotated[Path, typer.Option(help="Vectors to send (.npz).", show_default=False)] = (
        streams.SAMPLE
    )
    out: Annotated[Path, typer.Option(help="Directory for the results.")] = Path("out/trial")
    output: OutputFormat = "text"


@app.command(
    epilog=examples("nextvec trial same", "nextvec trial slowed --factor 1.3 --runs 5 --minutes 10")
)
@with_options(TrialOptions)
def trial(options: TrialOptions) -> None:
    """Run rollouts with a known canary on a real server and check their verdicts."""
    if min(options.minutes, options.runs, options.rate, options.noise) <= 0 or options.factor < 1:
        raise SystemExit(
            "nextvec trial: --minutes, --runs, --rate and --noise must be above 0, "
            "and --factor at least 1"
        )
    console = make_console(stderr=options.output == "json")
    environment.exit_on_sigterm()
    try:
        data = streams.load(options.data)
        options.out.mkdir(parents=True, exist_ok=True)
        models = options.out / "models"
        for version in (STABLE, CANARY):
            if not environment.is_export_current(models, version, options.checkpoint, _WINDOW):
                with working(console, f"exporting {options.checkpoint} as {version}"):
                    log = options.out / f"export-{version}.log"
                    environment.export_version(models, version, options.checkpoint, log, _WINDOW)
        trials = [
            _run(options, models, data, number, console) for number in range(1, options.runs + 1)
        ]
    except (
        environment.EnvironmentSetupError,
        streams.StreamError,
        ClientError,
        AdminError,
        OSError,
    ) as error:
        raise SystemExit(f"nextvec trial: {error}") from error
    report = options.out / f"{options.kind}.json"
    report.write_bytes(orjson.dumps([_figures(t) for t in trials], option=orjson.OPT_INDENT_2))
    wrong = [
        f"run {number}: {problem}"
        for number, trial in enumerate(trials, 1)
        for problem in trial.problems()
    ]
    for line in wrong:
        print(f"nextvec trial: {line}", file=sys.stderr)
    right = sum(not trial.problems() for trial in trials)
    console.print(f"{right} of {len(trials)} ended as expected; {report}")
    if options.output == "json":
        print_json_file(report)
    if wrong:
        raise typer.Exit(1)


def _run(
    options: TrialOptions, models: Path, data: streams.Streams, number: int, console: Console
) -> Trial:
    """Run one rollout on a new server; draw its plot and print how it ended."""
    launcher = {
        "same": environment.SERVE,
        "slowed": environment.slow_version_command(CANARY, options.factor),
        "noisy": environment.noisy_version_command(CANARY, options.noise),
    }[options.kind]
    settings = {"NEXTVEC_ROLLOUT__INTERVAL_SECONDS": str(_INTERVAL_SECONDS)}
    clock = SystemClock()
    with environment.run_server(models, options.out, STABLE, CANARY, settings, launcher) as server:
        run_fast(server.ready(clock, _READY_SECONDS))
        with LiveView(console) as live:
            trial = run_fast(
                run_trial(
                    server,
                    data,
                    clock,
                    rate=options.rate,
                    seconds=options.minutes * 60,
                    expected_rollback=options.kind != "same",
                    session_length=SHORT_SESSION if options.kind == "noisy" else SESSION_LENGTH,
                    show=lambda t: live.show(lambda: f"run {number} of {options.runs}: {_line(t)}"),
                )
            )
    picture = options.out / f"{options.kind}-{number}.png"
    plots.draw_run(trial.requests, trial.samples, f"{options.kind}, run {number}", picture)
    console.print(f"run {number}: {_line(trial)}   {picture}")
    return trial


def _line(trial: Trial) -> str:
    last = trial.last
    if last is None:
        return f"{len(trial.requests)} requests"
    recent = window_p95(trial.requests, trial.driver.now(), 60.0)
    shown = ", ".join(f"{variant} {p95 * 1000:.1f} ms" for variant, p95 in recent.items())
    reason = last.message if trial.rolled_back else last.verdict
    return (
        f"{last.at - trial.started:.0f} s, {len(trial.requests)} requests, {last.phase} at "
        f"{last.weight:g} %, P95 of a minute: {shown or '-'}; {reason[:120]}"
    )


def _figures(trial: Trial) -> dict[str, object]:
    last = trial.last
    return {
        "requests": len(trial.requests),
        "failed": sum(not request.ok for request in trial.requests),
        "seconds": None if last is None else round(last.at - trial.started, 1),
        "phase": None if last is None else last.phase,
        "rolled_back_after_seconds": trial.rollback_seconds,
        "verdict": None if last is None else last.verdict or last.message,
        "problems": trial.problems(),
    }
