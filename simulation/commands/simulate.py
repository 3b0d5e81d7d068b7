"""`nextvec simulate`: simulate the rollouts of a plan on modelled traffic."""

from __future__ import annotations

import asyncio
import logging

from pydantic import ValidationError
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands.options import (
    CommandWithLists,
    examples,
    new_app,
    print_json_file,
    with_options,
)
from service.commands.progress import ProgressBar
from service.commands.terminal import make_console
from service.rollout.plan.plan_file import load_plan
from service.rollout.plan.rollout_plan import RolloutPlan
from simulation import evidence_trace, plot, report
from simulation.batches import simulate_scenarios
from simulation.commands import quality
from simulation.commands.simulate_options import RATIOS, SimulateOptions
from simulation.evidence_trace import trace_rollouts
from simulation.latency_distribution import (
    LatencyDistribution,
    LatencyError,
    LognormalLatency,
    load,
)
from simulation.point_estimate_rules import PointEstimateRule
from simulation.scenario import Scenario
from simulation.simulation_row import SimulationRow

app = new_app()


@app.command(
    cls=CommandWithLists,
    epilog=examples(
        "nextvec simulate --plan plan.yaml --rollouts 1000",
        "nextvec simulate --weight 5 25 50 --canary-ratio 1 1.5 --compare",
        "nextvec simulate --quality --hit 0.5 --output json",
        "nextvec simulate --quality --hits out/evaluate/hits-mine.json",
    ),
)
@with_options(SimulateOptions)
def simulate(options: SimulateOptions) -> None:
    """Simulate a plan's rollouts offline.

    The report says how often the plan rolls back a good canary, how often it stops a bad
    one, and after how long.
    """
    plan = _plan(options)
    latency = _latency(options)
    if options.horizon < 2 * options.interval:
        raise SystemExit(
            "nextvec simulate: the horizon is shorter than two evaluations; "
            "raise --horizon or lower --interval"
        )
    if options.hits is not None and not options.quality:
        raise SystemExit("nextvec simulate: --hits is for --quality; pass both")
    if options.quality:
        quality.run(options, plan)
        return
    ratios = options.canary_ratio or RATIOS
    scenarios = [
        Scenario(
            latency=latency,
            ratio=ratio,
            error_rate=options.error_rate,
            rate=options.rate,
            drift=options.drift,
            ramp=options.ramp,
            slowdown=options.slowdown,
            stall=options.stall,
            interval=options.interval,
            horizon=options.horizon,
        )
        for ratio in dict.fromkeys(ratios)
    ]
    console = make_console(stderr=options.output == "json")
    # An evaluation that fails is logged with its traceback; in a simulation it is a bug.
    logging.basicConfig(level=logging.WARNING)
    columns = (TextColumn("rollouts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ProgressBar(*columns, console=console, transient=True) as progress:
        rules = 1 + len(PointEstimateRule) if options.compare else 1
        bar = progress.add_task("rollouts", total=len(scenarios) * options.rollouts * rules)
        rows = simulate_scenarios(
            scenarios,
            plan,
            hold=options.weight is not None,
            compare=options.compare,
            rollouts=options.rollouts,
            seed=options.seed,
            processes=options.processes,
            advanced=lambda count: progress.advance(bar, count),
        )
    settings = _settings(options, plan, latency)
    report.write(settings, rows, options.out)
    if options.traces:
        held = options.weight is not None
        traced = asyncio.run(
            trace_rollouts(scenarios, plan, hold=held, count=options.traces, seed=options.seed)
        )
        evidence_trace.write(traced, options.out / "traces.json")
    picture = options.out / "rollouts.png"
    plot.draw(rows, plan, _title(options, plan, latency), picture)
    if options.output == "json":
        print_json_file(options.out / "report.json")
        return
    console.print(_table(rows))
    console.print(report.NOTES, style="dim", highlight=False)
    console.print(f"{options.out / 'report.md'}, {options.out / 'report.json'}, {picture}")


def _plan(options: SimulateOptions) -> RolloutPlan:
    """Return the plan of the file, the default one, or one that holds the given weights."""
    if options.plan is not None and options.weight is not None:
        raise SystemExit("nextvec simulate: --plan and --weight exclude each other; pass one")
    fields: dict[str, object] = {}
    if options.weight is not None:
        dwell = options.horizon / len(options.weight)
        # The last step waits for an approval that never comes, while guardrails keep running.
        weights = [f"{weight}%" for weight in options.weight]
        steps = [{"weight": weight, "min_dwell_seconds": dwell} for weight in weights[:-1]]
        steps.append({"weight": weights[-1], "approval": True})
        fields = {"steps": steps, "deadline_seconds": max(3600.0, 2 * options.horizon)}
    if options.alpha is not None:
        fields["alpha"] = options.alpha
    given = load_plan(options.plan)
    try:
        return RolloutPlan.model_validate(given.model_dump() | fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SystemExit(
            f"nextvec simulate: {field}: {first['msg']}; see --weight and --alpha"
        ) from error


def _latency(options: SimulateOptions) -> LatencyDistribution:
    if options.latency is None:
        return LognormalLatency(options.median, options.sigma)
    try:
        return load(options.latency)
    except LatencyError as error:
        raise SystemExit(f"nextvec simulate: {error}") from error


def _settings(
    options: SimulateOptions, plan: RolloutPlan, latency: LatencyDistribution
) -> dict[str, object]:
    names = (
        "rate",
        "interval",
        "drift",
        "ramp",
        "slowdown",
        "stall",
        "rollouts",
        "horizon",
        "seed",
    )
    weights = ", ".join(f"{step.weight:g}" for step in plan.steps)
    held = "held" if options.weight is not None else "as planned, approvals at once"
    return {
        "latency": latency.name,
        **{name: getattr(options, name) for name in names},
        "alpha": plan.alpha,
        "weights": f"{weights} % {held}",
        "plan": plan.model_dump(mode="json"),
    }


def _title(options: SimulateOptions, plan: RolloutPlan, latency: LatencyDistribution) -> str:
    weights = ", ".join(f"{step.weight:g}" for step in plan.steps)
    return (
        f"{options.rollouts} rollouts each: {options.rate:g} requests/s, {latency.name}, "
        f"{weights} %, evaluated every {options.interval:g} s, "
        f"at most {options.horizon / 60:g} min"
    )


def _table(rows: list[SimulationRow]) -> Table:
    shown = Table(box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for i, heading in enumerate(report.HEADINGS):
        shown.add_column(heading, justify="left" if i < 2 else "right", no_wrap=i == 0)
    for row in rows:
        shown.add_row(*report.cells(row))
    return shown
