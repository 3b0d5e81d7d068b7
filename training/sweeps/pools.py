"""Hit@5 against pool size: the same predictions, and only the candidates fewer or more."""

from __future__ import annotations

import numpy as np

from training.prediction import predict_exact
from training.sweeps.setting import Advance, SweepSetting, point
from training.sweeps.sweep import Sweep, SweepSeries

SIZES = (115, 230, 1000)
"""The two that the original figures had, and ours; beside them, every vector there is."""


def cost(setting: SweepSetting) -> int:
    return len(setting.targets) * sum(entry.window for entry in setting.models)


def sweep(setting: SweepSetting, advance: Advance, workers: int) -> Sweep:
    """Pools nested in each other, so that a larger one only adds candidates."""
    total = len(setting.stream)
    order = 1 + np.random.default_rng(setting.pool.seed).permutation(total - 1)
    sizes = [*(size for size in SIZES if size < total - 1), total - 1]
    predictions = {}
    for entry in setting.models:
        predictions[entry.name] = predict_exact(
            entry.model, setting.stream, setting.targets, entry.window, workers=workers
        )
        advance(entry.window * len(setting.targets))
    for rule in setting.rules:
        predictions[rule.name] = rule.predict(setting.stream, setting.targets)
    models = {entry.name for entry in setting.models}
    bootstrap = setting.bootstrap()
    series = []
    for name, predicted in predictions.items():
        hits = {size: setting.hits(predicted, order[:size]) for size in sizes}
        label = {size: str(size) for size in sizes} | {total - 1: f"all {total - 1}"}
        points = tuple(
            point(size, label[size], hit, bootstrap, hits[sizes[-1]]) for size, hit in hits.items()
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
            "each pool within the next."
        ),
        series=tuple(series),
    )
