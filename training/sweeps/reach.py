"""How far back a prediction depends on its context: cut it, or replace one vector of it."""

from __future__ import annotations

import numpy as np
import torch

from architectures.model import NextVectorModel
from corpora.retrieval_metrics import Vectors
from training.baselines import BaselineRule
from training.bootstrap import DocumentBootstrap
from training.sweeps.context import first
from training.sweeps.setting import Advance, Positions, SweepSetting, point
from training.sweeps.sweep import Sweep, SweepPoint, SweepSeries

DISTANCES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

BATCH = 50


def cost(setting: SweepSetting) -> int:
    """The window once, and twice every distance: cut, and with a vector replaced."""
    return sum(
        len(setting.targets) * (entry.window + 2 * sum(_within(entry.window)))
        for entry in setting.models
    )


def sweep(setting: SweepSetting, advance: Advance) -> Sweep:
    """Two series a model: all older than `d` cut off, and the vector `d` back replaced.

    What replaces it is a vector from elsewhere in the stream, so that the prediction
    is given something plausible and wrong.
    """
    rng = np.random.default_rng(setting.pool.seed)
    foreign = setting.stream[rng.integers(len(setting.stream), size=len(setting.targets))]
    bootstrap = setting.bootstrap()
    series = []
    for entry in setting.models:
        distances = _within(entry.window)
        whole = np.empty((len(setting.targets), setting.stream.shape[1]), np.float32)
        cut = {distance: np.empty_like(whole) for distance in distances}
        replaced = {distance: np.empty_like(whole) for distance in distances}
        for begin in range(0, len(setting.targets), BATCH):
            rows = slice(begin, begin + BATCH)
            contexts = _contexts(setting.stream, setting.targets[rows], entry.window)
            answers = perturbed(entry.model, contexts, foreign[rows], distances)
            whole[rows] = answers[0]
            for distance in distances:
                cut[distance][rows], replaced[distance][rows] = answers[1][distance]
            advance(contexts.shape[1] * (entry.window + 2 * sum(distances)))
        for name, changed in (("cut", cut), ("one replaced", replaced)):
            points = _points(setting, changed, whole, bootstrap)
            series.append(SweepSeries(f"{entry.name}, {name}", "model", points))
    for rule in setting.rules:
        whole = rule.predict(setting.stream, setting.targets)
        kept = {distance: _cut_rule(rule, distance, setting) for distance in DISTANCES}
        points = _points(setting, kept, whole, bootstrap)
        series.append(SweepSeries(f"{rule.name}, cut", "rule", points))
    return Sweep(
        name="reach",
        title="How far back a prediction depends on its context",
        x_label="distance back (vectors)",
        log=True,
        gap_from="the whole window",
        note=(
            f"{setting.note} Pool: {setting.pool}. Cut: only the last so many vectors. One "
            "replaced: the vector that far back gives way to one from elsewhere."
        ),
        series=tuple(series),
    )


def perturbed(
    model: NextVectorModel, contexts: Vectors, foreign: Vectors, distances: tuple[int, ...]
) -> tuple[Vectors, dict[int, tuple[Vectors, Vectors]]]:
    """Predictions of `contexts` `[window, batch, dim]` whole, cut and with one replaced.

    One pass keeps the state at every distance, from which the context with the
    replaced vector runs on: the part before it is the same.
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
            cut, _ = model.predict(vectors[at:])
            replaced, _ = model.predict(other, state)
            changed[distance] = (cut.numpy(), replaced.numpy())
        whole, _ = model.predict(vectors[done:], state)
    return whole.numpy(), changed


def _points(
    setting: SweepSetting, changed: dict[int, Vectors], whole: Vectors, bootstrap: DocumentBootstrap
) -> tuple[SweepPoint, ...]:
    reference = setting.hits(whole)
    found = []
    for distance, predicted in changed.items():
        base = point(distance, str(distance), setting.hits(predicted), bootstrap, reference)
        cosine = bootstrap.estimate((predicted * whole).sum(axis=1, dtype=np.float64))
        found.append(
            SweepPoint(base.x, base.label, base.hit_at_5, base.positions, base.gap, cosine)
        )
    return tuple(found)


def _contexts(stream: Vectors, targets: Positions, window: int) -> Vectors:
    cut: Vectors = stream[targets - window + np.arange(window)[:, None]]
    return cut


def _cut_rule(rule: BaselineRule, distance: int, setting: SweepSetting) -> Vectors:
    return first(rule, distance).predict(setting.stream, setting.targets)


def _within(window: int) -> tuple[int, ...]:
    return tuple(distance for distance in DISTANCES if distance < window)
