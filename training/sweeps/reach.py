"""How far back a prediction depends on its context: truncate it, or replace one vector."""

from __future__ import annotations

import numpy as np
import torch

from architectures.model import NextVectorModel
from corpora.retrieval_metrics import Vectors
from training.baselines import BaselineRule
from training.bootstrap import DocumentBootstrap
from training.prediction import Advance, Positions
from training.sweeps.context import truncated
from training.sweeps.setting import SweepSetting, sweep_point
from training.sweeps.sweep import Sweep, SweepPoint, SweepSeries

DISTANCES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

BATCH = 50


def cost(setting: SweepSetting) -> int:
    """Vectors that will run through models: the window once, and every distance twice."""
    return sum(
        len(setting.targets) * (model.window + 2 * sum(_distances_within(model.window)))
        for model in setting.models
    )


def sweep(setting: SweepSetting, advance: Advance) -> Sweep:
    """Two series a model: the context truncated to `d` vectors, and the vector `d` back replaced.

    The replacement is a vector from elsewhere in the stream: plausible but wrong.
    """
    rng = np.random.default_rng(setting.pool.seed)
    foreign = setting.stream[rng.integers(len(setting.stream), size=len(setting.targets))]
    bootstrap = setting.bootstrap()
    series = []
    for model in setting.models:
        distances = _distances_within(model.window)
        whole = np.empty((len(setting.targets), setting.stream.shape[1]), np.float32)
        short = {distance: np.empty_like(whole) for distance in distances}
        replaced = {distance: np.empty_like(whole) for distance in distances}
        for begin in range(0, len(setting.targets), BATCH):
            rows = slice(begin, begin + BATCH)
            contexts = _contexts(setting.stream, setting.targets[rows], model.window)
            answers = perturbed(model.model, contexts, foreign[rows], distances)
            whole[rows] = answers[0]
            for distance in distances:
                short[distance][rows], replaced[distance][rows] = answers[1][distance]
            advance(contexts.shape[1] * (model.window + 2 * sum(distances)))
        for name, changed in (("truncated", short), ("one replaced", replaced)):
            points = _points(setting, changed, whole, bootstrap)
            series.append(SweepSeries(f"{model.name}, {name}", "model", points))
    for rule in setting.rules:
        whole = rule.predict(setting.stream, setting.targets)
        kept = {distance: _predict_truncated(rule, distance, setting) for distance in DISTANCES}
        points = _points(setting, kept, whole, bootstrap)
        series.append(SweepSeries(f"{rule.name}, truncated", "rule", points))
    return Sweep(
        name="reach",
        title="How far back a prediction depends on its context",
        x_label="distance back (vectors)",
        log=True,
        gap_from="the whole window",
        note=(
            f"{setting.note} Pool: {setting.pool}. Truncated: only the last vectors are read. "
            "One replaced: the vector at that distance is replaced by one from elsewhere."
        ),
        series=tuple(series),
    )


def perturbed(
    model: NextVectorModel, contexts: Vectors, foreign: Vectors, distances: tuple[int, ...]
) -> tuple[Vectors, dict[int, tuple[Vectors, Vectors]]]:
    """Predictions from `contexts` `[window, batch, dim]`: whole, and by distance truncated and with
    one vector replaced.

    One pass keeps the state before every distance; the context with a replaced vector continues
    from it, because everything earlier is the same.
    """
    vectors = torch.from_numpy(contexts)
    window = len(vectors)
    changed: dict[int, tuple[Vectors, Vectors]] = {}
    with torch.inference_mode():
        state, done = None, 0
        for distance in sorted(distances, reverse=True):
            at = window - distance
            if at > done:
                _, state = model.predict(vectors[done:at], state)
            done = at
            other = torch.cat([torch.from_numpy(foreign)[None], vectors[at + 1 :]])
            short, _ = model.predict(vectors[at:])
            replaced, _ = model.predict(other, state)
            changed[distance] = (short.numpy(), replaced.numpy())
        whole, _ = model.predict(vectors[done:], state)
    return whole.numpy(), changed


def _points(
    setting: SweepSetting, changed: dict[int, Vectors], whole: Vectors, bootstrap: DocumentBootstrap
) -> tuple[SweepPoint, ...]:
    reference = setting.hits(whole)
    found = []
    for distance, predicted in changed.items():
        base = sweep_point(distance, str(distance), setting.hits(predicted), bootstrap, reference)
        cosine = bootstrap.estimate((predicted * whole).sum(axis=1, dtype=np.float64))
        found.append(
            SweepPoint(base.x, base.label, base.hit_at_5, base.positions, base.gap, cosine)
        )
    return tuple(found)


def _contexts(stream: Vectors, targets: Positions, window: int) -> Vectors:
    short: Vectors = stream[targets - window + np.arange(window)[:, None]]
    return short


def _predict_truncated(rule: BaselineRule, distance: int, setting: SweepSetting) -> Vectors:
    return truncated(rule, distance).predict(setting.stream, setting.targets)


def _distances_within(window: int) -> tuple[int, ...]:
    return tuple(distance for distance in DISTANCES if distance < window)
