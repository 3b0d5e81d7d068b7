"""Exact contexts, one pool, and a report that says which."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model_export import checkpoint
from model_export.architecture import MemoryAugmentedGRU
from service.cli import main
from service.manifest import sha256
from training import corpus, metrics
from training.corpus import Corpus
from training.evaluate import figures, predict_exact


@pytest.fixture(scope="module")
def model() -> MemoryAugmentedGRU:
    torch.manual_seed(1)
    return MemoryAugmentedGRU().eval()


@pytest.fixture
def saved(model: MemoryAugmentedGRU, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(model, path, {"window": "8"})
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_each_position_gets_its_own_window(
    model: MemoryAugmentedGRU, small: Corpus, workers: int
) -> None:
    """As many vectors as the window before it, or all there are, from a cold state."""
    stream = small.vectors[:80]
    targets = np.array([79, 1, 3, 8, 9, *range(10, 70)])
    seen: list[int] = []
    predicted = predict_exact(model, stream, targets, 8, seen.append, workers)
    for row in (0, 1, 2, 3, 4, 20):
        target = targets[row]
        context = stream[max(0, target - 8) : target]
        with torch.inference_mode():
            expected, _ = model.predict(torch.from_numpy(context[:, None]))
        np.testing.assert_allclose(predicted[row], expected[0].numpy(), atol=1e-6)
    assert len(targets) == seen[-1]
    assert seen == sorted(seen)


def test_a_prediction_never_sees_its_target(model: MemoryAugmentedGRU, small: Corpus) -> None:
    """Nor anything after it, nor before its window."""
    stream, targets = small.vectors[:60], np.array([5, 40])
    changed = stream.copy()
    changed[5:30] *= -1
    changed[40:] *= -1
    np.testing.assert_array_equal(
        predict_exact(model, stream, targets, 8), predict_exact(model, changed, targets, 8)
    )


def test_figures_by_hand() -> None:
    """Four axes as candidates: two right, one third, one last of four."""
    held_out = Corpus(
        np.concatenate([np.ones((1, 4)) / 2, np.eye(4)]).astype(np.float32),
        np.zeros(5, np.int32),
        ("only",),
    )
    predicted = np.eye(4, dtype=np.float32)
    predicted[2] = np.array([0.8, 0.5, 0.3, 0.1]) / np.sqrt(0.99)
    predicted[3] = np.array([0.6, 0.5, 0.4, 0.1]) / np.sqrt(0.78)
    pool = metrics.random_pool(5, 4, seed=0)
    measured = figures(predicted, held_out, pool)
    assert 0.5 == measured.hit_at_1.value
    assert 1.0 == measured.hit_at_5.value == measured.hit_at_10.value
    assert (1 + 1 + 1 / 3 + 1 / 4) / 4 == pytest.approx(measured.mrr.value)
    cosine = (2 + 0.3 / 0.99**0.5 + 0.1 / 0.78**0.5) / 4
    assert cosine == pytest.approx(measured.cosine.value)
    assert measured.mrr.low == pytest.approx(measured.mrr.high)


def test_the_command_scores_models_beside_baselines(
    saved: Path, small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All on one pool, which the report states; the window is the checkpoint's or given."""
    out = tmp_path / "out"
    options = ["--data", str(small_file), "--out", str(out), "--pool", "30"]
    assert 0 == main(["evaluate", str(saved), f"{saved}:20", *options])
    report = json.loads((out / "report.json").read_text())
    assert [
        "tiny (window 8)",
        "tiny (window 20)",
        "repeat the last vector",
        "mean of the last 2",
        "mean of the last 5",
    ] == [score["name"] for score in report["scores"]][:5]
    assert ["model"] * 2 + ["baseline"] * 4 == [score["kind"] for score in report["scores"]]
    assert sha256(saved) == report["scores"][0]["checkpoint_sha256"]
    assert ("30 random positions", 30, 0) == (
        report["pool"]["kind"],
        report["pool"]["size"],
        report["pool"]["seed"],
    )
    assert sha256(small_file) == report["data"]["sha256"]
    assert (40, 2) == (report["data"]["held_out_vectors"], report["data"]["held_out_documents"])
    for score in report["scores"]:
        for name in ("hit_at_1", "hit_at_5", "hit_at_10", "mrr"):
            figure = score[name]
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert b"\x89PNG" == (out / "report.png").read_bytes()[:4]
    markdown = (out / "report.md").read_text()
    assert "30 random positions (seed 0) of 40 held-out vectors in 2 documents" in markdown
    assert "chance Hit@5 16.7 %" in markdown
    assert markdown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("checkpoints", "more", "says"),
    [
        (["{dir}/absent.safetensors"], [], "no such file"),
        (["{dir}/bare.safetensors"], [], "does not say its window; write .*:500"),
        (["{dir}/tiny.safetensors:0"], [], "does not say its window"),
        (["{dir}/tiny.safetensors", "{dir}/tiny.safetensors:8"], [], "given twice"),
        (["{dir}/tiny.safetensors"], ["--pool", "40"], "choose from 1 to 39"),
        (["{dir}/tiny.safetensors"], ["--pool", "0"], "choose from 1 to 39"),
        (["{dir}/tiny.safetensors"], ["--data", "absent.npz"], "not a readable .npz"),
    ],
)
def test_a_wrong_request_is_refused(
    model: MemoryAugmentedGRU,
    saved: Path,
    small_file: Path,
    tmp_path: Path,
    checkpoints: list[str],
    more: list[str],
    says: str,
) -> None:
    """Before anything is computed or written."""
    checkpoint.save(model, tmp_path / "bare.safetensors", {})
    out = tmp_path / "out"
    given = [text.format(dir=saved.parent) for text in checkpoints]
    with pytest.raises(SystemExit, match=says):
        main(["evaluate", *given, "--data", str(small_file), "--out", str(out), *more])
    assert not out.exists()


def test_a_corpus_without_held_out_documents_is_refused(
    saved: Path, small: Corpus, tmp_path: Path
) -> None:
    """Seven documents leave none for every eighth."""
    path = tmp_path / "few.npz"
    corpus.save(path, small.of_documents(np.arange(16) < 7))
    with pytest.raises(SystemExit, match="cannot be drawn from 0 vectors"):
        main(["evaluate", str(saved), "--data", str(path), "--out", str(tmp_path / "out")])
