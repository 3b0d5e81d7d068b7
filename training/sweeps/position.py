"""Hit@5 by position in the document: whether the beginning is harder to predict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.bootstrap import DocumentBootstrap, Floats
from training.prediction import Advance, predict_anchored
from training.sweeps.setting import SweepSetting, sweep_point
from training.sweeps.sweep import Sweep, SweepPoint, SweepSeries

EDGES = (0, 1, 5, 10, 20, 50, 100, 200, 500)
"""The first position of each group; the last group has no end."""


def cost(setting: SweepSetting) -> int:
    """Vectors that will run through models."""
    return 2 * len(setting.stream) * len(setting.models)


def sweep(setting: SweepSetting, advance: Advance) -> Sweep:
    """Score every position of `setting`, with anchored windows, which make many affordable."""
    document = setting.held_out.corpus.document_id[setting.targets]
    first = np.searchsorted(setting.held_out.corpus.document_id, document)
    group = np.searchsorted(EDGES, setting.targets - first, side="right") - 1
    hits = {}
    for model in setting.models:
        predicted = predict_anchored(
            model.model, setting.stream, setting.targets, model.window, advance
        )
        hits[model.name] = setting.hits(predicted)
    for rule in setting.rules:
        hits[rule.name] = setting.hits(rule.predict(setting.stream, setting.targets))
    models = {model.name for model in setting.models}
    reference = setting.rules[-1].name
    series = [
        SweepSeries(
            name,
            "model" if name in models else "rule",
            _points(found, hits[reference], group, document),
        )
        for name, found in hits.items()
    ]
    return Sweep(
        name="position",
        title="Hit@5 by position in the document",
        x_label="position in the document",
        log=False,
        gap_from=f"the {reference}",
        note=(
            f"{setting.note.removesuffix(', the same at every point.')}. Pool: {setting.pool}. "
            "Models read anchored windows, which may begin in the document before."
        ),
        series=tuple(series),
    )


def _points(
    hits: Floats, reference: Floats, group: NDArray[np.int64], document: NDArray[np.int32]
) -> tuple[SweepPoint, ...]:
    found = []
    for number, edge in enumerate(EDGES):
        chosen = group == number
        if chosen.any():
            last = EDGES[number + 1] - 1 if number + 1 < len(EDGES) else None
            label = f"{edge}+" if last is None else f"{edge}–{last}" if last > edge else f"{edge}"
            bootstrap = DocumentBootstrap(document[chosen])
            found.append(sweep_point(number, label, hits[chosen], bootstrap, reference[chosen]))
    return tuple(found)
