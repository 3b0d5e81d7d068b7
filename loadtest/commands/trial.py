"""`nextvec trial`: the verdict tried live, on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson
from rich.console import Console
from rich.live import Live

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

_READY_SECONDS = 60.0
_WINDOW = 500
_POLL_SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind",
        choices=("same", "slowed", "noisy"),
        help="one version under two names, which must not be rolled back; or the second "
        "slowed down, or with noise on its predictions, which must be",
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="a run, at most (%(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="one after the other (%(default)s)")
    parser.add_argument("--factor", type=float, default=1.5, help="slowed by (%(default)s)")
    parser.add_argument(
        "--noise",
        type=float,
        default=5.0,
        help="added to each unit vector, by its length; 5 halves Hit@5 on the sample (%(default)s)",
    )
    parser.add_argument("--rate", type=float, default=30.0, help="requests a second (%(default)s)")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("checkpoints/phase-2.safetensors"),
        help="%(default)s",
    )
    parser.add_argument("--data", type=Path, default=streams.SAMPLE, help="an .npz of vectors")
    parser.add_argument("--out", type=Path, default=Path("out/trial"), help="%(default)s")


def run(args: argparse.Namespace) -> int:
    if min(args.minutes, args.runs, args.rate, args.noise) <= 0 or args.factor < 1:
        raise SystemExit(
            "nextvec trial: --minutes, --runs, --rate, --noise must be over 0, --factor 1 or more"
        )
    console = Console()
    environment.exit_on_sigterm()
    try:
        data = streams.load(args.data)
        args.out.mkdir(parents=True, exist_ok=True)
        models = args.out / "models"
        for version in (STABLE, CANARY):
            if not environment.is_export_current(models, version, args.checkpoint, _WINDOW):
                with console.status(f"exporting {args.checkpoint} as {version}"):
                    log = args.out / f"export-{version}.log"
                    environment.export_version(models, version, args.checkpoint, log, _WINDOW)
        trials = [_run(args, models, data, number, console) for number in range(1, args.runs + 1)]
    except (
        environment.EnvironmentSetupError,
        streams.StreamError,
        ClientError,
        AdminError,
        OSError,
    ) as error:
        raise SystemExit(f"nextvec trial: {error}") from error
    report = args.out / f"{args.kind}.json"
    report.write_bytes(orjson.dumps([_figures(t) for t in trials], option=orjson.OPT_INDENT_2))
    wrong = [
        f"run {number}: {problem}"
        for number, trial in enumerate(trials, 1)
        for problem in trial.problems()
    ]
    for line in wrong:
        print(f"nextvec trial: {line}", file=sys.stderr)
    right = sum(not trial.problems() for trial in trials)
    console.print(f"{right} of {len(trials)} ended as they must; {report}")
    return 1 if wrong else 0


def _run(
    args: argparse.Namespace, models: Path, data: streams.Streams, number: int, console: Console
) -> Trial:
    """One run on a server of its own, its picture, and a line on how it ended."""
    launcher = {
        "same": environment.SERVE,
        "slowed": environment.slow_version_command(CANARY, args.factor),
        "noisy": environment.noisy_version_command(CANARY, args.noise),
    }[args.kind]
    settings = {"NEXTVEC_ROLLOUT__INTERVAL_SECONDS": str(_POLL_SECONDS)}
    clock = SystemClock()
    with environment.run_server(models, args.out, STABLE, CANARY, settings, launcher) as server:
        run_fast(server.ready(clock, _READY_SECONDS))
        with Live(console=console, auto_refresh=False, transient=True) as live:
            trial = run_fast(
                run_trial(
                    server,
                    data,
                    clock,
                    rate=args.rate,
                    seconds=args.minutes * 60,
                    expected_rollback=args.kind != "same",
                    session_length=SHORT_SESSION if args.kind == "noisy" else SESSION_LENGTH,
                    show=lambda t: live.update(
                        f"run {number} of {args.runs}: {_line(t)}", refresh=True
                    ),
                )
            )
    picture = args.out / f"{args.kind}-{number}.png"
    plots.draw_run(trial.requests, trial.samples, f"{args.kind}, run {number}", picture)
    console.print(f"run {number}: {_line(trial)}   {picture}")
    return trial


def _line(trial: Trial) -> str:
    last = trial.last
    if last is None:
        return f"{len(trial.requests)} requests"
    recent = window_p95(trial.requests, trial.driver.now(), 60.0)
    shown = ", ".join(f"{variant} {p95 * 1000:.1f} ms" for variant, p95 in recent.items())
    said = last.message if trial.rolled_back else last.verdict
    return (
        f"{last.at - trial.started:.0f} s, {len(trial.requests)} requests, {last.phase} at "
        f"{last.weight:g} %, P95 of a minute: {shown or '-'}; {said[:120]}"
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
