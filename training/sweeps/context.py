"""Hit@5 against context length: how much of its window a model uses."""

from __future__ import annotations

from dataclasses import replace

from training.baselines import BaselineRule
from training.prediction import Advance, predict_exact
from training.sweeps.setting import SweepSetting, sweep_point
from training.sweeps.sweep import Sweep, SweepSeries

LENGTHS = (10, 20, 50, 100, 200, 500, 1000)


def cost(setting: SweepSetting, lengths: tuple[int, ...]) -> int:
    """Vectors that will run through models."""
    return len(setting.targets) * sum(lengths) * len(setting.models)


def sweep(setting: SweepSetting, advance: Advance, workers: int, lengths: tuple[int, ...]) -> Sweep:
    """Predict each position from its last 10 … 1000 vectors; baselines from at most as many."""
    bootstrap = setting.bootstrap()
    series = []
    for model in setting.models:
        hits = {}
        for length in lengths:
            predicted = predict_exact(
                model.model, setting.stream, setting.targets, length, workers=workers
            )
            hits[length] = setting.hits(predicted)
            advance(length * len(setting.targets))
        own = hits[max(lengths)]
        points = tuple(sweep_point(x, str(x), hit, bootstrap, own) for x, hit in hits.items())
        series.append(SweepSeries(model.name, "model", points))
    for rule in setting.rules:
        hits = {
            length: setting.hits(truncated(rule, length).predict(setting.stream, setting.targets))
            for length in lengths
        }
        own = hits[max(lengths)]
        points = tuple(sweep_point(x, str(x), hit, bootstrap, own) for x, hit in hits.items())
        series.append(SweepSeries(rule.name, "rule", points))
    return Sweep(
        name="context",
        title="Hit@5 against context length",
        x_label="context (vectors)",
        log=True,
        gap_from=f"the longest ({max(lengths)})",
        note=f"{setting.note} Pool: {setting.pool}.",
        series=tuple(series),
    )


def truncated(rule: BaselineRule, length: int) -> BaselineRule:
    """The rule, reading at most the last `length` vectors."""
    return replace(rule, weights=rule.weights[:length])
