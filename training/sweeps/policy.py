"""Hit@5 under each window policy: what a session loses if it does not recompute its window."""

from __future__ import annotations

from corpora.retrieval_metrics import Vectors
from training.evaluated_model import EvaluatedModel
from training.prediction import Advance, predict_anchored, predict_continuous, predict_exact
from training.sweeps.setting import SweepSetting, sweep_point
from training.sweeps.sweep import Sweep, SweepSeries

POLICIES = ("exact", "anchored", "continuous")


def cost(setting: SweepSetting) -> int:
    """Vectors that will run through models."""
    last = int(setting.targets.max())
    exact = len(setting.targets) * sum(model.window for model in setting.models)
    # Anchored passes overlap by half, so each vector runs twice; the continuous pass is one more.
    return exact + 3 * last * len(setting.models)


def sweep(setting: SweepSetting, advance: Advance, workers: int) -> Sweep:
    """The same positions, all past the window, under each policy. Baselines have no policy."""
    bootstrap = setting.bootstrap()
    series = []
    for model in setting.models:
        hits = [
            setting.hits(_predict(policy, model, setting, advance, workers)) for policy in POLICIES
        ]
        points = tuple(
            sweep_point(x, policy, hit, bootstrap, hits[0])
            for x, (policy, hit) in enumerate(zip(POLICIES, hits, strict=True))
        )
        series.append(SweepSeries(model.name, "model", points))
    for rule in setting.rules:
        hit = setting.hits(rule.predict(setting.stream, setting.targets))
        points = tuple(
            sweep_point(x, policy, hit, bootstrap, hit) for x, policy in enumerate(POLICIES)
        )
        series.append(SweepSeries(rule.name, "rule", points))
    return Sweep(
        name="policy",
        title="Hit@5 under each window policy",
        x_label="policy",
        log=False,
        gap_from="exact",
        note=(
            f"{setting.note} Pool: {setting.pool}. Exact recomputes the window, "
            "anchored restarts every half window, continuous never restarts."
        ),
        series=tuple(series),
    )


def _predict(
    policy: str, entry: EvaluatedModel, setting: SweepSetting, advance: Advance, workers: int
) -> Vectors:
    model, stream, targets = entry.model, setting.stream, setting.targets
    if policy == "anchored":
        return predict_anchored(model, stream, targets, entry.window, advance)
    if policy == "continuous":
        return predict_continuous(model, stream, targets, advance)
    predicted = predict_exact(model, stream, targets, entry.window, workers=workers)
    advance(entry.window * len(targets))
    return predicted
