"""`nextvec simulate --quality`: how soon a canary with worse predictions is detected."""

from __future__ import annotations

from dataclasses import replace

from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands.options import print_json_file
from service.commands.progress import ProgressBar
from service.commands.terminal import make_console
from service.rollout.plan.rollout_plan import RolloutPlan
from simulation import quality_report, recorded_sessions
from simulation.commands.simulate_options import SimulateOptions
from simulation.quality_report import SimulatedCanary
from simulation.quality_rollout import first_weight, quality_guardrail
from simulation.recorded_sessions import HitRecord, RecordedSessions, RecordingError
from simulation.sessions import SimulatedSessions


def run(options: SimulateOptions, plan: RolloutPlan) -> None:
    """Simulate, write quality.md and quality.json, and print the table or the JSON."""
    if "quality" not in plan.guardrails.enabled:
        raise SystemExit(
            "nextvec simulate: the plan turns the guardrail quality off; give one that has it"
        )
    if options.hits is None:
        canaries, about = _random(options)
    else:
        try:
            canaries, about = _recorded(options, recorded_sessions.load(options.hits))
        except recorded_sessions.RecordingError as error:
            raise SystemExit(f"nextvec simulate: {error}") from error
    console = make_console(stderr=options.output == "json")
    columns = (TextColumn("rollouts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ProgressBar(*columns, console=console, transient=True) as progress:
        total = len(canaries) * options.rollouts * (2 if options.compare else 1)
        bar = progress.add_task("rollouts", total=total)
        rows = quality_report.run(
            canaries,
            plan,
            compare=options.compare,
            rollouts=options.rollouts,
            seed=options.seed,
            processes=options.processes,
            advanced=lambda count: progress.advance(bar, count),
        )
    settings = {
        **about,
        "predictions/s": options.rate,
        "weight": f"{first_weight(plan):g} % held",
        "analysis interval, s": options.interval,
        "horizon, s": options.horizon,
        "alpha": plan.alpha,
        "least share of Hit@5 kept": quality_guardrail(plan).config.kept,
        "rollouts": options.rollouts,
        "seed": options.seed,
    }
    quality_report.write(settings, rows, options.out)
    if options.output == "json":
        print_json_file(options.out / "quality.json")
        return
    shown = Table(box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for heading in quality_report.HEADINGS:
        shown.add_column(heading, justify="left" if heading == "units" else "right")
    for row in rows:
        shown.add_row(*quality_report.cells(row))
    console.print(shown)
    console.print(quality_report.NOTES, style="dim", highlight=False)
    console.print(f"{options.out / 'quality.md'}, {options.out / 'quality.json'}")


def _random(options: SimulateOptions) -> tuple[list[SimulatedCanary], dict[str, object]]:
    """The canaries of `--hit-ratio`, and settings for the report."""
    ratios = list(dict.fromkeys(options.hit_ratio or quality_report.RATIOS))
    most = options.hit * max(1.0, *ratios)
    if options.hit == 0 or most >= 1 or options.session_length < 1:
        raise SystemExit(
            "nextvec simulate: --hit and its product with --hit-ratio must lie between 0 and 1, "
            "--session-length at 1 or more"
        )
    sessions = SimulatedSessions(
        hit=options.hit,
        spread=options.spread,
        length=options.session_length,
        lengths=options.session_lengths,
        rate=options.rate,
        interval=options.interval,
        horizon=options.horizon,
    )
    about = {
        "stable's Hit@5": options.hit,
        "spread": options.spread,
        "session length": f"{options.session_length:g}, {options.session_lengths.value}",
    }
    return [SimulatedCanary(ratio, replace(sessions, ratio=ratio)) for ratio in ratios], about


def _recorded(
    options: SimulateOptions, recording: HitRecord
) -> tuple[list[SimulatedCanary], dict[str, object]]:
    """Every recorded version as the canary of `--stable`, and settings for the report.

    Raises `RecordingError` if the recording has no version of that name.
    """
    names = list(recording.models)
    stable = options.stable or names[0]
    if stable not in recording.models:
        raise RecordingError(f"--stable: {stable} is not recorded; recorded: {', '.join(names)}")
    hits = recording.models[stable]
    canaries = []
    for name in names:
        sessions = RecordedSessions(
            hits,
            recording.models[name],
            rate=options.rate,
            interval=options.interval,
            horizon=options.horizon,
        )
        canaries.append(SimulatedCanary(sessions.ratio, sessions, name))
    about: dict[str, object] = {
        "hits recorded on": recording.text,
        "sessions": f"{recording.sessions} of {hits.shape[1] + 1} vectors",
        "stable": stable,
        "stable's Hit@5": round(float(hits.mean()), 3),
    }
    return canaries, about
