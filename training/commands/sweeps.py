"""`nextvec evaluate sweep`: vary one factor and hold the others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from corpora.corpus import Corpus
from service.commands.progress import ProgressBar
from training import baselines, held_out
from training.evaluated_model import EvaluatedModel
from training.evaluation import PoolSpec, check_held_out, check_length
from training.prediction import Advance
from training.sweeps import context, plot, policy, pools, position, reach
from training.sweeps.setting import SweepSetting, choose_setting
from training.sweeps.sweep import Sweep


class SweepName(StrEnum):
    """The factor that a sweep varies."""

    CONTEXT = "context"
    POOL = "pool"
    POLICY = "policy"
    POSITION = "position"
    REACH = "reach"


@dataclass(frozen=True)
class SweepSpec:
    """What to sweep, on which held-out set, and at how many positions."""

    names: Sequence[SweepName]
    held_out: str
    positions: int
    pool: PoolSpec
    include_seen: bool


def run(
    spec: SweepSpec,
    corpus: Corpus,
    models: Sequence[EvaluatedModel],
    out: Path,
    console: Console,
    output: Literal["text", "json"] = "text",
) -> None:
    """Write each sweep as `sweep-NAME.md`, `.json` and `.png` under `out`, and print it.

    Raises `CorpusError` for a model that was trained on the set, and `ValueError` for a
    set that is too small.
    """
    one = next(found for found in held_out.sets(corpus) if found.name == spec.held_out)
    check_length(models, one)
    if not spec.include_seen:
        check_held_out(models, one)
    rules = tuple(
        rule
        for rule in baselines.all_rules(held_out.split(corpus, "both").train.vectors)
        # A running centre reads the whole text, so it has no shorter form.
        if isinstance(rule, baselines.BaselineRule)
    )
    pool = spec.pool.draw(one)
    everything = SweepSetting(
        one, pool, np.arange(1, len(one.corpus.vectors)), tuple(models), rules
    )
    settings = {
        name: everything
        if name == "position"
        else choose_setting(one, pool, tuple(models), rules, spec.positions, _first(name, models))
        for name in spec.names
    }
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, object] = {}
    for name, setting in settings.items():
        found = _run_sweep(name, setting, console)
        (out / f"sweep-{name}.md").write_text(found.as_markdown())
        plot.draw(found, out / f"sweep-{name}.png")
        (out / f"sweep-{name}.json").write_text(json.dumps(found.as_json(), indent=1) + "\n")
        if output == "text":
            print(f"{found.as_markdown()}\nwritten to {out}/sweep-{name}.md, .json and .png\n")
        results[name] = found.as_json()
    if output == "json":
        print(json.dumps(results, indent=1))


def _first(name: str, models: Sequence[EvaluatedModel]) -> int:
    """Return the number of vectors that must precede a position for every point to use it."""
    window = max(entry.window for entry in models)
    return {"context": max(context.LENGTHS), "policy": window + 1, "reach": window}.get(name, 1)


def _run_sweep(name: str, setting: SweepSetting, console: Console) -> Sweep:
    workers = os.cpu_count() or 1
    sweeps: dict[str, tuple[int, Callable[[Advance], Sweep]]] = {
        "context": (
            context.cost(setting, context.LENGTHS),
            lambda advance: context.sweep(setting, advance, workers, context.LENGTHS),
        ),
        "pool": (pools.cost(setting), lambda advance: pools.sweep(setting, advance, workers)),
        "policy": (policy.cost(setting), lambda advance: policy.sweep(setting, advance, workers)),
        "position": (position.cost(setting), lambda advance: position.sweep(setting, advance)),
        "reach": (reach.cost(setting), lambda advance: reach.sweep(setting, advance)),
    }
    total, sweep = sweeps[name]
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with ProgressBar(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(f"sweep of {name}", total=total)
        return sweep(lambda vectors: bar.advance(task, vectors))
