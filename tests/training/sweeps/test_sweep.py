"""Sweeps: one thing varied, and at the point of reference what an evaluation gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import checkpoint
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from corpora import candidate_pool
from corpora.corpus import Corpus
from service.cli import main
from training import baselines, held_out
from training.evaluated_model import EvaluatedModel
from training.prediction import predict_anchored, predict_continuous, predict_exact
from training.sweeps import context, policy, pools, position, reach
from training.sweeps.setting import SweepSetting, choose_setting
from training.sweeps.sweep import Sweep, SweepPoint

pytestmark = pytest.mark.slow

WINDOW = 6


@pytest.fixture(scope="module")
def model() -> MemoryAugmentedGRU:
    torch.manual_seed(1)
    return MemoryAugmentedGRU().eval()


def _silent(_vectors: int) -> None:
    pass


@pytest.fixture(scope="module")
def setting(model: MemoryAugmentedGRU, small: Corpus) -> SweepSetting:
    eras, _ = held_out.sets(small)
    rules = (
        baselines.BaselineRule("last", (1.0,)),
        baselines.BaselineRule("mean of 5", (1.0,) * 5),
    )
    candidates = (EvaluatedModel("tiny", model, WINDOW, "digest", frozenset()),)
    pool = candidate_pool.random_pool(40, 30, seed=0)
    return choose_setting(eras, pool, candidates, rules, positions=12, first=20)


def _series(sweep: Sweep) -> dict[str, tuple[SweepPoint, ...]]:
    return {series.name: series.points for series in sweep.series}


def _own_hit(setting: SweepSetting) -> float:
    (candidate,) = setting.models
    predicted = predict_exact(candidate.model, setting.stream, setting.targets, WINDOW)
    return float(setting.hits(predicted).mean())


def test_positions_are_the_pools_and_have_a_past(setting: SweepSetting, small: Corpus) -> None:
    """As many as asked for, or as there are; none at all is refused."""
    assert 12 == len(setting.targets)
    assert set(setting.targets) <= set(setting.pool.targets)
    assert setting.targets.min() >= 20
    eras, _ = held_out.sets(small)
    with pytest.raises(ValueError, match=r"set eras has 40 vectors: too few .* with 40 vectors"):
        choose_setting(eras, setting.pool, (), (), positions=5, first=40)


def test_the_context_sweep_reaches_the_models_own_figure(setting: SweepSetting) -> None:
    """Rules are truncated as well; the longest context is the reference."""
    found = _series(context.sweep(setting, _silent, 1, (1, 3, WINDOW)))
    assert ["1", "3", "6"] == [point.label for point in found["tiny"]]
    assert _own_hit(setting) == found["tiny"][-1].hit_at_5.value
    assert found["last"][0].hit_at_5 == found["last"][-1].hit_at_5
    assert found["mean of 5"][0].hit_at_5 == found["last"][0].hit_at_5
    for points in found.values():
        assert points[-1].gap is not None
        assert 0 == points[-1].gap.low == points[-1].gap.high


def test_more_candidates_never_help(setting: SweepSetting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pool contains the smaller ones, and the last has every vector."""
    monkeypatch.setattr(pools, "SIZES", (5, 15, 1000))
    for points in _series(pools.sweep(setting, _silent, 1)).values():
        values = [point.hit_at_5.value for point in points]
        assert 1.0 == values[0]
        assert sorted(values, reverse=True) == values
        assert ["5", "15", "all 39"] == [point.label for point in points]


def test_the_policy_sweep_starts_from_exact(setting: SweepSetting) -> None:
    """Rules have no policy."""
    found = _series(policy.sweep(setting, _silent, 1))
    assert list(policy.POLICIES) == [point.label for point in found["tiny"]]
    assert _own_hit(setting) == found["tiny"][0].hit_at_5.value
    assert 1 == len({point.hit_at_5 for point in found["last"]})


def test_the_position_sweep_groups_by_place_in_the_document(setting: SweepSetting) -> None:
    """Documents of 20: the first group is each document's first vector."""
    everything = SweepSetting(
        setting.held_out, setting.pool, np.arange(1, 40), setting.models, setting.rules
    )
    found = _series(position.sweep(everything, _silent))
    points = found["tiny"]
    assert ["0", "1–4", "5–9", "10–19"] == [point.label for point in points]
    # The stream's very first vector has no past.
    assert [1, 8, 10, 20] == [point.positions for point in points]
    for point, best in zip(points, found["mean of 5"], strict=True):
        assert point.gap is not None
        gap = point.hit_at_5.value - best.hit_at_5.value
        assert gap == pytest.approx(point.gap.value)


def test_the_reach_sweep_loses_nothing_beyond_a_rules_reach(setting: SweepSetting) -> None:
    """Cut at 5 or more, the mean of 5 is what it was; cut at 1, it is the last vector."""
    found = _series(reach.sweep(setting, _silent))
    assert ["1", "2", "5"] == [point.label for point in found["tiny, truncated"]]
    last_five = found["mean of 5, truncated"]
    assert last_five[0].cosine is not None
    assert last_five[0].cosine.value < 0.99
    for point in last_five[2:]:
        assert point.cosine is not None
        assert 1.0 == pytest.approx(point.cosine.value)


def test_a_perturbed_context_is_what_it_says(model: MemoryAugmentedGRU, small: Corpus) -> None:
    """Each equals a separate pass: whole, the last `d` only, and one vector replaced."""
    contexts = small.vectors[:14].reshape(7, 2, 768)
    foreign = small.vectors[100:102]
    whole, changed = reach.perturbed(model, contexts, foreign, (1, 3, 7))

    def predict(vectors: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model.predict(torch.from_numpy(np.ascontiguousarray(vectors)))[0].numpy()

    np.testing.assert_allclose(predict(contexts), whole, atol=1e-6)
    for distance, (cut, replaced) in changed.items():
        other = contexts.copy()
        other[-distance] = foreign
        np.testing.assert_allclose(predict(contexts[-distance:]), cut, atol=1e-6)
        np.testing.assert_allclose(predict(other), replaced, atol=1e-6)


def test_anchored_windows_begin_where_the_services_do(
    model: MemoryAugmentedGRU, small: Corpus
) -> None:
    """Half a window apart, the first one at most a window back."""
    stream, targets = small.vectors[:40], np.array([1, 5, 6, 7, 9, 10, 20, 39])
    predicted = predict_anchored(model, stream, targets, WINDOW, _silent)
    for row, (target, start) in enumerate(zip(targets, [0, 0, 0, 3, 3, 6, 15, 33], strict=True)):
        with torch.inference_mode():
            expected, _ = model.predict(torch.from_numpy(stream[start:target, None]))
        np.testing.assert_allclose(predicted[row], expected[0].numpy(), atol=1e-5)


def test_carried_on_is_one_pass_over_everything(
    model: MemoryAugmentedGRU, small: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the chunks."""
    monkeypatch.setattr("training.prediction.CHUNK", 7)
    stream, targets = small.vectors[:40], np.array([39, 1, 7, 8, 14, 15])
    predicted = predict_continuous(model, stream, targets, _silent)
    whole = predict_exact(model, stream, targets, 1000)
    np.testing.assert_allclose(predicted, whole, atol=1e-5)


@pytest.fixture
def saved(model: MemoryAugmentedGRU, small: Corpus, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    said = held_out.metadata(held_out.split(small, "eras").train, "eras", "digest")
    checkpoint.save(model, path, {"window": "6", **said})
    return path


def test_the_command_writes_tables_and_pictures(
    saved: Path, small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One report for each sweep, with the constants."""
    monkeypatch.setattr(context, "LENGTHS", (2, WINDOW))
    out = tmp_path / "out"
    options = ["--data", str(small_file), "--out", str(out), "--pool", "30", "--positions", "9"]
    names = ["context", "pool", "policy", "position", "reach"]
    assert 0 == main(["evaluate", "sweep", str(saved), *options, "--vary", *names])
    for name in names:
        assert name == json.loads((out / f"sweep-{name}.json").read_text())["name"]
        assert b"\x89PNG" == (out / f"sweep-{name}.png").read_bytes()[:4]
    text = (out / "sweep-reach.md").read_text()
    assert "Held out: eras (every eighth document). 9 positions in 2 documents" in text
    assert "Pool: 30 random positions (seed 0)" in text


def test_a_sweep_on_what_was_trained_on_is_refused(
    saved: Path, small_file: Path, tmp_path: Path
) -> None:
    """The message names the documents."""
    options = ["--data", str(small_file), "--out", str(tmp_path / "out"), "--pool", "30"]
    with pytest.raises(SystemExit, match=r"1 of the 2 documents .* latest \(document 14\)"):
        main(["evaluate", "sweep", str(saved), *options, "--vary", "pool", "--set", "latest"])
