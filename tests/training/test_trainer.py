"""Training starts as repeat-last, repeats itself exactly, and keeps its best epoch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from architectures import checkpoint
from architectures.memory_augmented_gru import HIDDEN
from corpora import corpus
from corpora.corpus import Corpus
from service.cli import main
from training import recipe
from training.initialization import initialize
from training.recipe import Recipe
from training.trainer import EpochMetrics, TrainingResult, train

pytestmark = pytest.mark.slow

TINY = replace(
    recipe.load(Path(recipe.__file__).parent / "recipes" / "phase-2.toml"),
    name="tiny",
    window=8,
    batch=8,
    epochs=2,
)


def _silent(_done: int, _total: int, _text: str) -> None:
    pass


def _train(small: Corpus, chosen: Recipe = TINY) -> TrainingResult:
    held_out = corpus.split_every(small).held_out
    # The pool of 1000 positions asks for more held-out vectors than the small corpus has.
    long = Corpus(
        np.tile(held_out.vectors, (26, 1)),
        np.repeat(np.arange(26), 40).astype(np.int32),
        small.documents,
    )
    return train(corpus.CorpusSplit(corpus.split_every(small).train, long), chosen, _silent)


@pytest.fixture(scope="module")
def result(small: Corpus) -> TrainingResult:
    return _train(small)


def test_an_untrained_model_repeats_the_last_vector(small: Corpus) -> None:
    """The output starts at zero; the update gates' biases spread from 0 to the recipe's."""
    model = initialize(small.vectors, TINY).eval()
    vectors = torch.from_numpy(small.vectors[:6, None])
    with torch.inference_mode():
        predicted, _ = model.predict(vectors)
    torch.testing.assert_close(predicted, F.normalize(vectors[-1], dim=-1))
    bias = model.gru.bias_hh_l3[HIDDEN : 2 * HIDDEN].detach()
    assert (0.0, TINY.gate_bias) == (bias[0].item(), bias[-1].item())


def test_training_moves_the_weights_and_lowers_the_loss(result: TrainingResult) -> None:
    """Two epochs, each with its metrics."""
    assert [1, 2] == [epoch.epoch for epoch in result.history]
    assert result.history[1].loss < result.history[0].loss
    assert result.best.hit_at_5 == max(epoch.hit_at_5 for epoch in result.history)
    last = result.model.output_proj[3].weight
    assert last.abs().max() > 0
    assert not result.model.training


def test_the_same_seed_gives_the_same_model(small: Corpus, result: TrainingResult) -> None:
    """Bit for bit; another seed gives another model."""
    again = _train(small).model.state_dict()
    other = _train(small, replace(TINY, seed=1, epochs=1)).model.state_dict()
    for key, value in result.model.state_dict().items():
        assert torch.equal(again[key], value)
    assert not torch.equal(other["output_proj.3.weight"], again["output_proj.3.weight"])


def test_half_of_what_training_moved_lies_halfway(small: Corpus) -> None:
    """Between the initial weights and the final weights of the same run."""
    chosen = replace(TINY, epochs=1)
    start = initialize(corpus.split_every(small).train.vectors, chosen).state_dict()
    whole = _train(small, chosen).model.state_dict()
    half = _train(small, replace(chosen, interpolation=0.5)).model.state_dict()
    for key, value in half.items():
        torch.testing.assert_close((start[key] + whole[key]) / 2, value)


def test_it_stops_when_patience_runs_out(small: Corpus) -> None:
    """With a negligible learning rate, epoch 1 stays the best."""
    stuck = replace(TINY, learning_rate=1e-30, epochs=9, patience=1)
    stopped = _train(small, stuck)
    assert [1, 2] == [epoch.epoch for epoch in stopped.history]
    assert 1 == stopped.best.epoch


def test_the_command_writes_checkpoint_history_and_curve(tmp_path: Path) -> None:
    """The checkpoint loads strictly and says its window."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((8 * 1100, 768), dtype=np.float32)
    names = tuple(f"document {number}" for number in range(8))
    data = tmp_path / "data.npz"
    # 1,100 vectors held out, and 80 left to train on.
    document = np.repeat(np.arange(8), [12, 12, 12, 12, 12, 10, 10, 1100]).astype(np.int32)
    corpus.save(data, Corpus(vectors[: len(document)], document, names))
    chosen = tmp_path / "tiny.toml"
    text = (Path(recipe.__file__).parent / "recipes" / "phase-2.toml").read_text()
    text = text.replace('"phase-2"', '"tiny"').replace("window = 500", "window = 8")
    chosen.write_text(text.replace("batch = 8", "batch = 4"))
    out = tmp_path / "out"
    options = ["--data", str(data), "--out", str(out), "--epochs", "1"]
    assert 0 == main(["train", str(chosen), *options])
    checkpoint.load(out / "tiny.safetensors")
    assert "8" == checkpoint.metadata(out / "tiny.safetensors")["window"]
    history = json.loads((out / "tiny.history.json").read_text())
    assert 1 == len(history["history"])
    assert 8 == history["recipe"]["window"]
    assert "eras" == history["data"]["hold_out"]
    assert 64 == EpochMetrics(**history["history"][0]).vectors
    assert (out / "tiny.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["phase-9"], "there is no recipe 'phase-9'; the shipped ones are .*phase-2"),
        (["absent.toml"], "absent.toml"),
        (["phase-2", "--epochs", "0"], "epochs: Input should be greater than 0"),
        (["phase-2"], "280 vectors to train on are too few for a window of 500"),
    ],
)
def test_a_wrong_request_for_training_is_refused(
    small_file: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    """The message says what to do, and nothing is written."""
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match=says):
        main(["train", *arguments, "--data", str(small_file), "--out", str(out)])
    assert not out.exists()


def test_a_run_that_diverges_ends_and_leaves_nothing(small: Corpus) -> None:
    """At the end of the epoch; the message says what to change."""
    with pytest.raises(ValueError, match=r"loss of epoch 1 is nan: .* learning_rate"):
        _train(small, replace(TINY, learning_rate=9e18, gradient_clip=9e18))
