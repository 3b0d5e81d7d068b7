"""Hit@5 against context length: how much of its window does a model use?"""

from __future__ import annotations

from dataclasses import replace

from training.baselines import BaselineRule
from training.prediction import predict_exact
from training.sweeps.setting import Advance, SweepSetting, point
from training.sweeps.sweep import Sweep, SweepSeries

LENGTHS = (10, 20, 50, 100, 200, 500, 1000)


def cost(setting: SweepSetting, lengths: tuple[int, ...]) -> int:
    """Vectors to be run through models."""
    return len(setting.targets) * sum(lengths) * len(setting.models)


def sweep(setting: SweepSetting, advance: Advance, workers: int, lengths: tuple[int, ...]) -> Sweep:
    """Each position from its last 10 … 1000 vectors; rules from as many as they use."""
    bootstrap = setting.bootstrap()
    series = []
    for entry in setting.models:
        hits = {}
        for length in lengths:
            predicted = predict_exact(
                entry.model, setting.stream, setting.targets, length, workers=workers
            )
            hits[length] = setting.hits(predicted)
            advance(length * len(setting.targets))
        own = hits[max(lengths)]
        points = tuple(point(x, str(x), hit, bootstrap, own) for x, hit in hits.items())
        series.append(SweepSeries(entry.name, "model", points))
    for rule in setting.rules:
        hits = {
            length: setting.hits(first(rule, length).predict(setting.stream, setting.targets))
            for length in lengths
        }
        own = hits[max(lengths)]
        points = tuple(point(x, str(x), hit, bootstrap, own) for x, hit in hits.items())
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


def first(rule: BaselineRule, length: int) -> BaselineRule:
    """The rule, with no more than the last `length` vectors to go by."""
    return replace(rule, weights=rule.weights[:length])
