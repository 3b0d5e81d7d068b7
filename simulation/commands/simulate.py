"""`nextvec simulate`: what a plan does to one's own traffic, before it meets any."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.rollout.plan.plan_file import load_plan
from service.rollout.plan.rollout_plan import Plan
from simulation import parallel, plot, report
from simulation.commands import quality
from simulation.latency_distribution import (
    LatencyDistribution,
    LatencyError,
    LognormalLatency,
    load,
)
from simulation.point_estimate_rules import PointEstimateRule
from simulation.scenario import Scenario
from simulation.simulation_row import SimulationRow

RATIOS = (1.0, 1.1, 1.2, 1.5, 2.0, 5.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", type=Path, help="YAML or JSON file; without it the default plan")
    parser.add_argument(
        "--weight",
        type=float,
        nargs="+",
        help="in place of a plan: weights in per cent, held for equal parts of the horizon, "
        "the last one to its end",
    )
    parser.add_argument("--alpha", type=float, help="in place of the plan's own")
    parser.add_argument(
        "--latency",
        type=Path,
        help="a load test's report.json or a copy of /metrics; without it a lognormal",
    )
    parser.add_argument("--median", type=_positive, default=0.05, help="seconds (%(default)s)")
    parser.add_argument(
        "--sigma", type=_positive, default=0.5, help="of the lognormal (%(default)s)"
    )
    parser.add_argument("--rate", type=_positive, default=50.0, help="requests/s (%(default)s)")
    parser.add_argument(
        "--interval", type=_positive, default=15.0, help="seconds between looks (%(default)s)"
    )
    parser.add_argument(
        "--canary-ratio",
        type=_positive,
        action="append",
        help=f"canary's latencies over stable's; repeatable ({' '.join(f'{r:g}' for r in RATIOS)})",
    )
    parser.add_argument(
        "--error-rate", type=_share, default=0.0, help="of the canary's requests, 0..1"
    )
    parser.add_argument(
        "--drift",
        type=_at_least_one,
        default=1.0,
        help="both arms' latencies swing by this factor within an hour",
    )
    parser.add_argument(
        "--ramp",
        type=_positive,
        default=1.0,
        help="the rate grows to so many times by the horizon",
    )
    parser.add_argument(
        "--slowdown",
        type=_at_least_one,
        default=1.0,
        help="of both arms while the canary has traffic: a device they share",
    )
    parser.add_argument(
        "--stall",
        type=_not_negative,
        default=0.0,
        help="seconds for which the canary answers nothing, once, soon after its warm-up",
    )
    parser.add_argument("--rollouts", type=_count, default=200, help="a scenario (%(default)s)")
    parser.add_argument(
        "--horizon", type=_positive, default=3600.0, help="seconds at most (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (%(default)s)")
    parser.add_argument(
        "--compare", action="store_true", help="also two rules that compare point estimates"
    )
    parser.add_argument(
        "--processes", type=_count, default=os.cpu_count() or 1, help="at once (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("out/simulate"), help="%(default)s")
    quality.add_arguments(parser, _positive, _share)


def run(args: argparse.Namespace) -> int:
    plan = _plan(args)
    latency = _latency(args)
    if args.horizon < 2 * args.interval:
        raise SystemExit(
            "nextvec simulate: the horizon has no room for two looks; "
            "raise --horizon or lower --interval"
        )
    if args.quality:
        return quality.run(args, plan)
    ratios = args.canary_ratio or RATIOS
    scenarios = [
        Scenario(
            latency=latency,
            ratio=ratio,
            error_rate=args.error_rate,
            rate=args.rate,
            drift=args.drift,
            ramp=args.ramp,
            slowdown=args.slowdown,
            stall=args.stall,
            interval=args.interval,
            horizon=args.horizon,
        )
        for ratio in dict.fromkeys(ratios)
    ]
    console = Console()
    # A look that could not be judged would be logged with its traceback; here it is a bug.
    logging.basicConfig(level=logging.WARNING)
    columns = (TextColumn("rollouts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        rules = 1 + len(PointEstimateRule) if args.compare else 1
        bar = progress.add_task("rollouts", total=len(scenarios) * args.rollouts * rules)
        rows = parallel.run(
            scenarios,
            plan,
            hold=args.weight is not None,
            compare=args.compare,
            rollouts=args.rollouts,
            seed=args.seed,
            processes=args.processes,
            advanced=lambda count: progress.advance(bar, count),
        )
    settings = _settings(args, plan, latency)
    report.write(settings, rows, args.out)
    picture = args.out / "rollouts.png"
    plot.draw(rows, plan, _title(args, plan, latency), picture)
    console.print(_table(rows))
    console.print(report.NOTES, style="dim", highlight=False)
    console.print(f"{args.out / 'report.md'}, {args.out / 'report.json'}, {picture}")
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    """The file's plan, the default one, or one that holds the weights asked for."""
    if args.plan is not None and args.weight is not None:
        raise SystemExit("nextvec simulate: --plan and --weight exclude each other; give one")
    fields: dict[str, object] = {}
    if args.weight is not None:
        dwell = args.horizon / len(args.weight)
        # The last one waits for an approval that nobody gives: guardrails go on meanwhile.
        steps = [{"weight": weight, "min_dwell_seconds": dwell} for weight in args.weight[:-1]]
        steps.append({"weight": args.weight[-1], "approval": True})
        fields = {"steps": steps, "deadline_seconds": max(3600.0, 2 * args.horizon)}
    if args.alpha is not None:
        fields["alpha"] = args.alpha
    given = load_plan(args.plan)
    try:
        return Plan.model_validate(given.model_dump() | fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SystemExit(
            f"nextvec simulate: {field}: {first['msg']}; see --weight and --alpha"
        ) from error


def _latency(args: argparse.Namespace) -> LatencyDistribution:
    if args.latency is None:
        return LognormalLatency(args.median, args.sigma)
    try:
        return load(args.latency)
    except LatencyError as error:
        raise SystemExit(f"nextvec simulate: {error}") from error


def _settings(
    args: argparse.Namespace, plan: Plan, latency: LatencyDistribution
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
    held = "held" if args.weight is not None else "as planned, approvals at once"
    return {
        "latency": latency.name,
        **{name: getattr(args, name) for name in names},
        "alpha": plan.alpha,
        "weights": f"{weights} % {held}",
        "plan": plan.model_dump(mode="json"),
    }


def _title(args: argparse.Namespace, plan: Plan, latency: LatencyDistribution) -> str:
    weights = ", ".join(f"{step.weight:g}" for step in plan.steps)
    return (
        f"{args.rollouts} rollouts each: {args.rate:g} requests/s, {latency.name}, {weights} %, "
        f"a look every {args.interval:g} s, {args.horizon / 60:g} min at most"
    )


def _table(rows: list[SimulationRow]) -> Table:
    shown = Table(box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for i, heading in enumerate(report.HEADINGS):
        shown.add_column(heading, justify="left" if i < 2 else "right", no_wrap=i == 0)
    for row in rows:
        shown.add_row(*report.cells(row))
    return shown


def _number(text: str, low: float, high: float, wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _positive(text: str) -> float:
    return _number(text, 1e-6, 1e9, "a number over 0")


def _not_negative(text: str) -> float:
    return _number(text, 0, 1e9, "a number of at least 0")


def _share(text: str) -> float:
    return _number(text, 0, 1, "a share from 0 to 1")


def _at_least_one(text: str) -> float:
    return _number(text, 1, 1e3, "a factor of at least 1")


def _count(text: str) -> int:
    return int(_number(text, 1, 1e9, "a count of at least 1"))
