"""Options of `nextvec simulate`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import OutputFormat, non_negative, positive, share, slowdown_factor
from simulation import quality_report
from simulation.sessions import SessionLengths

RATIOS = (1.0, 1.1, 1.2, 1.5, 2.0, 5.0)

_QUALITY = "Quality (sessions instead of latencies)"


def _format_ratios(ratios: tuple[float, ...]) -> str:
    return " ".join(f"{ratio:g}" for ratio in ratios)


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """Plan, traffic, faults and size of a simulation."""

    plan: Annotated[
        Path | None, typer.Option(help="Plan file (YAML or JSON) instead of the default plan.")
    ] = None
    weight: Annotated[
        list[float] | None,
        typer.Option(
            help="Canary weights in per cent, instead of a plan: each is held for an equal part "
            "of the horizon. Takes several values."
        ),
    ] = None
    alpha: Annotated[
        float | None,
        typer.Option(help="Probability of a false rollback; overrides the plan."),
    ] = None
    latency: Annotated[
        Path | None,
        typer.Option(
            help="Latencies to draw from: report.json of a load test, or a copy of /metrics. "
            "Without it they are lognormal."
        ),
    ] = None
    median: Annotated[
        float,
        typer.Option(parser=positive, metavar="SECONDS", help="Median of the lognormal."),
    ] = 0.05
    sigma: Annotated[
        float, typer.Option(parser=positive, metavar="NUMBER", help="Sigma of the lognormal.")
    ] = 0.5
    rate: Annotated[
        float, typer.Option(parser=positive, metavar="NUMBER", help="Requests per second.")
    ] = 50.0
    interval: Annotated[
        float,
        typer.Option(
            parser=positive, metavar="SECONDS", help="Time between guardrail evaluations."
        ),
    ] = 15.0
    canary_ratio: Annotated[
        list[float] | None,
        typer.Option(
            parser=positive,
            metavar="RATIO",
            help="Latency of the canary divided by that of stable. Takes several values. "
            f"Default: {_format_ratios(RATIOS)}.",
        ),
    ] = None
    error_rate: Annotated[
        float,
        typer.Option(
            parser=share, metavar="SHARE", help="Share of the canary's requests that fail, 0 to 1."
        ),
    ] = 0.0
    drift: Annotated[
        float,
        typer.Option(
            parser=slowdown_factor,
            metavar="FACTOR",
            help="The latencies of both variants swing by this factor within an hour.",
        ),
    ] = 1.0
    ramp: Annotated[
        float,
        typer.Option(
            parser=positive,
            metavar="FACTOR",
            help="The request rate changes by this factor until the horizon.",
        ),
    ] = 1.0
    slowdown: Annotated[
        float,
        typer.Option(
            parser=slowdown_factor,
            metavar="FACTOR",
            help="Both variants slow down by this factor while the canary has traffic, as on a "
            "shared device.",
        ),
    ] = 1.0
    stall: Annotated[
        float,
        typer.Option(
            parser=non_negative,
            metavar="SECONDS",
            help="The canary answers nothing for this long, once, soon after its warm-up.",
        ),
    ] = 0.0
    rollouts: Annotated[int, typer.Option(min=1, help="Rollouts of each scenario.")] = 200
    horizon: Annotated[
        float,
        typer.Option(parser=positive, metavar="SECONDS", help="Longest duration of a rollout."),
    ] = 3600.0
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Also run two rules that compare point estimates."),
    ] = False
    traces: Annotated[
        int,
        typer.Option(
            min=0,
            help="Rollouts of each scenario whose evidence is written to traces.json, one point "
            "an evaluation.",
        ),
    ] = 0
    processes: Annotated[
        int, typer.Option(min=1, help="Processes to use.", show_default="one per CPU")
    ] = os.cpu_count() or 1
    out: Annotated[Path, typer.Option(help="Directory for the report.")] = Path("out/simulate")
    output: OutputFormat = "text"
    quality: Annotated[
        bool,
        typer.Option(
            "--quality",
            rich_help_panel=_QUALITY,
            help="Simulate the quality guardrail alone, at the first weight of the plan. Uses "
            "--plan, --weight, --alpha, --rate, --interval, --rollouts, --horizon, --seed, "
            "--compare, --processes and --out.",
        ),
    ] = False
    hit: Annotated[
        float,
        typer.Option(
            parser=share,
            metavar="SHARE",
            rich_help_panel=_QUALITY,
            help="Hit@5 of stable, 0 to 1.",
        ),
    ] = 0.6
    spread: Annotated[
        float,
        typer.Option(
            parser=positive,
            metavar="NUMBER",
            rich_help_panel=_QUALITY,
            help="Standard deviation of Hit@5 between routing keys.",
        ),
    ] = 0.2
    session_length: Annotated[
        float,
        typer.Option(
            parser=positive,
            metavar="NUMBER",
            rich_help_panel=_QUALITY,
            help="Mean predictions of a session, one every 2 s.",
        ),
    ] = 40.0
    session_lengths: Annotated[
        SessionLengths,
        typer.Option(rich_help_panel=_QUALITY, help="Distribution of session lengths."),
    ] = SessionLengths.GEOMETRIC
    hit_ratio: Annotated[
        list[float] | None,
        typer.Option(
            parser=positive,
            metavar="RATIO",
            rich_help_panel=_QUALITY,
            help="Hit@5 of the canary divided by that of stable. Takes several values. "
            f"Default: {_format_ratios(quality_report.RATIOS)}.",
        ),
    ] = None
    hits: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_QUALITY,
            help="Hits of real versions on a text, as written by nextvec evaluate hits, instead of "
            "--hit, --spread, --session-length, --session-lengths and --hit-ratio. Every version "
            "in it is a canary once.",
        ),
    ] = None
    stable: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_QUALITY,
            help="Stable among the versions in --hits.",
            show_default="the first",
        ),
    ] = None
