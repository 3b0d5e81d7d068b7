"""`nextvec simulate --quality`: how soon a canary that predicts worse is found."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.rollout.plan.rollout_plan import RolloutPlan
from simulation import quality_report
from simulation.quality_rollout import first_weight, quality_guardrail
from simulation.sessions import SessionLengths, SimulatedSessions

Number = Callable[[str], float]


def add_arguments(parser: argparse.ArgumentParser, positive: Number, share: Number) -> None:
    group = parser.add_argument_group("quality", "sessions in place of latencies")
    group.add_argument(
        "--quality",
        action="store_true",
        help="play the guardrail quality alone, at the plan's first weight; of the options "
        "above it takes --plan, --weight, --alpha, --rate, --interval, --rollouts, --horizon, "
        "--seed, --compare, --processes and --out",
    )
    group.add_argument("--hit", type=share, default=0.6, help="stable's Hit@5, 0..1 (%(default)s)")
    group.add_argument(
        "--spread",
        type=positive,
        default=0.2,
        help="standard deviation of the keys' own Hit@5 (%(default)s)",
    )
    group.add_argument(
        "--session-length",
        type=positive,
        default=40.0,
        help="predictions in the mean, one every 2 s (%(default)s)",
    )
    group.add_argument(
        "--session-lengths",
        type=SessionLengths,
        choices=list(SessionLengths),
        default=SessionLengths.GEOMETRIC,
    )
    group.add_argument(
        "--hit-ratio",
        type=positive,
        action="append",
        help="canary's Hit@5 over stable's; repeatable "
        f"({' '.join(f'{r:g}' for r in quality_report.RATIOS)})",
    )


def run(args: argparse.Namespace, plan: RolloutPlan) -> int:
    ratios = list(dict.fromkeys(args.hit_ratio or quality_report.RATIOS))
    most = args.hit * max(1.0, *ratios)
    if args.hit == 0 or most >= 1 or args.session_length < 1:
        raise SystemExit(
            "nextvec simulate: --hit and its product with --hit-ratio must lie between 0 and 1, "
            "--session-length at 1 or more"
        )
    if "quality" not in plan.guardrails.enabled:
        raise SystemExit(
            "nextvec simulate: the plan turns the guardrail quality off; give one that has it"
        )
    sessions = SimulatedSessions(
        hit=args.hit,
        spread=args.spread,
        length=args.session_length,
        lengths=args.session_lengths,
        rate=args.rate,
        interval=args.interval,
        horizon=args.horizon,
    )
    console = Console()
    columns = (TextColumn("rollouts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        total = len(ratios) * args.rollouts * (2 if args.compare else 1)
        bar = progress.add_task("rollouts", total=total)
        rows = quality_report.run(
            sessions,
            ratios,
            plan,
            compare=args.compare,
            rollouts=args.rollouts,
            seed=args.seed,
            processes=args.processes,
            advanced=lambda count: progress.advance(bar, count),
        )
    settings = {
        "stable's Hit@5": args.hit,
        "spread": args.spread,
        "session length": f"{args.session_length:g}, {args.session_lengths.value}",
        "predictions/s": args.rate,
        "weight": f"{first_weight(plan):g} % held",
        "look every, s": args.interval,
        "horizon, s": args.horizon,
        "alpha": plan.alpha,
        "must be kept": quality_guardrail(plan).config.kept,
        "rollouts": args.rollouts,
        "seed": args.seed,
    }
    quality_report.write(settings, rows, args.out)
    shown = Table(box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for heading in quality_report.HEADINGS:
        shown.add_column(heading, justify="left" if heading == "units" else "right")
    for row in rows:
        shown.add_row(*quality_report.cells(row))
    console.print(shown)
    console.print(quality_report.NOTES, style="dim", highlight=False)
    console.print(f"{args.out / 'quality.md'}, {args.out / 'quality.json'}")
    return 0
