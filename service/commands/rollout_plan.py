"""The plan in `nextvec rollout`: read from a file, an example, and its steps in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from rich.console import Group
from rich.table import Table

from service.commands.terminal import plain_text
from service.errors import Invalid
from service.rollout.analysis.formatting import format_duration, join_words
from service.rollout.plan.plan_file import load_plan
from service.rollout.plan.rollout_plan import STORED, PlanStep, RolloutPlan

EXAMPLE = """\
# A rollout plan. Times are in seconds, weights in per cent of new requests.
# Every field but steps may be left out. docs/reference/rollout-plan.md has all of them.
# Check it:  nextvec rollout plan plan.yaml
# Use it:    nextvec rollout start phase-3 --plan plan.yaml

steps:
  - shadow: true            # copies of requests first; callers never see the canary's answers
    min_samples: 200        # copies
    min_dwell_seconds: 60   # shortest time in this step
  - weight: 5               # then 5 % of new requests
    min_samples: 500        # requests of each variant
    min_dwell_seconds: 120
  - weight: 25
    min_dwell_seconds: 120
  - weight: 50
    min_dwell_seconds: 300
    approval: true          # a person promotes: nextvec rollout promote

ratio: 1.2                  # the canary's P95 may be 1.2 times stable's
alpha: 0.01                 # chance of rolling back a canary that complies, in total
warm_up_seconds: 60         # before latency is judged
deadline_seconds: 3600      # of each step; then on_deadline applies
on_deadline: pause          # or abort

guardrails:
  errors:
    margin: 0.01            # its error rate may be one point above stable's
  quality:
    kept: 0.8               # it must keep 80 % of stable's Hit@5
"""


def example_plan() -> RolloutPlan:
    """The example as a plan."""
    return RolloutPlan.model_validate(yaml.safe_load(EXAMPLE))


def plan_view(plan: RolloutPlan) -> Group:
    """The steps of a plan as a table, and its shortest time."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("step", "canary gets", "at least", "samples", "then"):
        table.add_column(name, no_wrap=True)
    for number, step in enumerate(plan.steps, 1):
        last = number == len(plan.steps)
        what = "promotion" if last else f"step {number + 1}"
        then = f"a person approves, {what}" if step.approval else what
        table.add_row(
            str(number),
            _weight(step),
            format_duration(step.min_dwell_seconds),
            f"{step.min_samples} {'copies' if step.shadow else 'requests'}",
            then,
        )
    required = join_words(sorted(plan.guardrails.required)) or "those that the steps name"
    return Group(
        table,
        plain_text(
            f"The plan is valid. It takes at least {shortest_text(plan)}. Must pass: {required}."
        ),
    )


def steps_text(plan: RolloutPlan) -> str:
    """The weights in their order: copies of requests, 5 %, 25 %, then stable."""
    return ", ".join([*(_weight(step) for step in plan.steps), "then stable"])


def shortest_text(plan: RolloutPlan) -> str:
    """The shortest time that the plan can take, after the canary is loaded."""
    seconds = plan.warm_up_seconds + sum(step.min_dwell_seconds for step in plan.steps)
    return format_duration(seconds)


def _weight(step: PlanStep) -> str:
    return "copies of requests" if step.shadow else f"{step.weight:g} %"


def read_plan(path: Path) -> RolloutPlan:
    """The plan in a file. Raises `SystemExit` that names the file and what is wrong with it."""
    try:
        return load_plan(path)
    except Invalid as error:
        raise SystemExit(f"nextvec rollout: {error}") from error


def follow_lines(fields: Mapping[str, object], at: str) -> tuple[str, ...]:
    """What a start of the plan with these `fields` has begun, and how to follow and stop it.

    `at` are the options that the commands need to find the service.
    """
    plan = RolloutPlan.model_validate(fields, context=STORED)
    return (
        f"Steps: {steps_text(plan)}; at least {shortest_text(plan)}.",
        f"Watch it with: nextvec rollout{at} status --watch",
        f"Wait for its end with: nextvec rollout{at} wait",
        f"Stop it with: nextvec rollout{at} abort",
    )
