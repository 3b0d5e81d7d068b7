"""Hit@5 against pool size: the same predictions among fewer or more candidates."""

from __future__ import annotations

import numpy as np

from training.prediction import Advance, predict_exact
from training.sweeps.setting import SweepSetting, sweep_point
from training.sweeps.sweep import Sweep, SweepSeries

SIZES = (115, 230, 1000)
"""Pool sizes of the original evaluation, and ours. The sweep adds all held-out vectors."""


def cost(setting: SweepSetting) -> int:
    """Vectors that will run through models."""
    return len(setting.targets) * sum(model.window for model in setting.models)


def sweep(setting: SweepSetting, advance: Advance, workers: int) -> Sweep:
    """Each pool contains the smaller ones, so that a larger one only adds candidates."""
    total = len(setting.stream)
    order = 1 + np.random.default_rng(setting.pool.seed).permutation(total - 1)
    sizes = [*(size for size in SIZES if size < total - 1), total - 1]
    predictions = {}
    for model in setting.models:
        predictions[model.name] = predict_exact(
            model.model, setting.stream, setting.targets, model.window, workers=workers
        )
        advance(model.window * len(setting.targets))
    for rule in setting.rules:
        predictions[rule.name] = rule.predict(setting.stream, setting.targets)
    models = {model.name for model in setting.models}
    bootstrap = setting.bootstrap()
    series = []
    for name, predicted in predictions.items():
        hits = {size: setting.hits(predicted, order[:size]) for size in sizes}
        label = {size: str(size) for size in sizes} | {total - 1: f"all {total - 1}"}
        points = tuple(
            sweep_point(size, label[size], hit, bootstrap, hits[sizes[-1]])
            for size, hit in hits.items()
        )
        series.append(SweepSeries(name, "model" if name in models else "rule", points))
    return Sweep(
        name="pool",
        title="Hit@5 against pool size: the same predictions at every point",
        x_label="candidates",
        log=True,
        gap_from="all",
        note=(
            f"{setting.note} Candidates are random held-out vectors (seed {setting.pool.seed}), "
            "each pool contained in the next."
        ),
        series=tuple(series),
    )
