"""Hit@5 under each window policy: what a session loses by not recomputing its window."""

from __future__ import annotations

from corpora.retrieval_metrics import Vectors
from training.evaluated_model import EvaluatedModel
from training.prediction import predict_exact
from training.sweeps.setting import Advance, SweepSetting, point
from training.sweeps.sweep import Sweep, SweepSeries
from training.sweeps.windows import anchored, carried_on

POLICIES = ("exact", "anchored", "carried on")


def cost(setting: SweepSetting) -> int:
    last = int(setting.targets.max())
    exact = len(setting.targets) * sum(entry.window for entry in setting.models)
    # Anchored passes overlap by half, so that each vector is run twice.
    return exact + 3 * last * len(setting.models)


def sweep(setting: SweepSetting, advance: Advance, workers: int) -> Sweep:
    """The same positions, all past the window, by each policy; rules know no policy."""
    bootstrap = setting.bootstrap()
    series = []
    for entry in setting.models:
        hits = [
            setting.hits(_predict(policy, entry, setting, advance, workers)) for policy in POLICIES
        ]
        points = tuple(
            point(x, policy, hit, bootstrap, hits[0])
            for x, (policy, hit) in enumerate(zip(POLICIES, hits, strict=True))
        )
        series.append(SweepSeries(entry.name, "model", points))
    for rule in setting.rules:
        hit = setting.hits(rule.predict(setting.stream, setting.targets))
        points = tuple(point(x, policy, hit, bootstrap, hit) for x, policy in enumerate(POLICIES))
        series.append(SweepSeries(rule.name, "rule", points))
    return Sweep(
        name="policy",
        title="Hit@5 under each window policy",
        x_label="policy",
        log=False,
        gap_from="exact",
        note=(
            f"{setting.note} Pool: {setting.pool}. Exact recomputes the window, anchored restarts "
            "every half window, carried on never restarts."
        ),
        series=tuple(series),
    )


def _predict(
    policy: str, entry: EvaluatedModel, setting: SweepSetting, advance: Advance, workers: int
) -> Vectors:
    model, stream, targets = entry.model, setting.stream, setting.targets
    if policy == "anchored":
        return anchored(model, stream, targets, entry.window, advance)
    if policy == "carried on":
        return carried_on(model, stream, targets, advance)
    predicted = predict_exact(model, stream, targets, entry.window, workers=workers)
    advance(entry.window * len(targets))
    return predicted
