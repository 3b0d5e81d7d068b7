"""Staged training: it learns, repeats itself, resumes to the same model, and says what failed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from corpora.packed_corpus import PackedCorpus
from tests.support.corpus_fakes import make_corpus
from training.checkpoint_store import ResumeError
from training.stages import loss as staged_loss
from training.stages import trainer as staged_trainer
from training.stages.device_corpus import DeviceCorpus
from training.stages.recipe import Stage, StagedRecipe
from training.stages.run import choose_device, initial_model, train_staged
from training.stages.split import StagedSplit, split
from training.stages.state import StagedStore
from training.stages.trainer import StagedTrainer
from training.stages.validation import SCALES, Validator, choose_scale, predict_steps

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")

TINY = StagedRecipe(
    name="tiny",
    stages=(
        Stage(window=6, batch=4, learning_rate=1e-3, final_learning_rate=1e-3, epochs=0.6),
        Stage(window=12, batch=2, learning_rate=1e-3, final_learning_rate=1e-4, epochs=0.6),
    ),
    positions=16,
    others=8,
    document_negatives=8,
    validations=2,
    warm_up=2,
)


@pytest.fixture(scope="module")
def packed() -> PackedCorpus:
    """20 documents of 20 vectors in two genres."""
    corpus = make_corpus(20, 20)
    scale = np.abs(corpus.vectors).max(axis=1) / 127
    return PackedCorpus(
        np.rint(corpus.vectors / scale[:, None]).astype(np.int8),
        scale,
        corpus.document_id,
        corpus.documents,
        ("law", "books") * 10,
        ("here",) * 19 + ("there",),
    )


@pytest.fixture(scope="module")
def parts(packed: PackedCorpus) -> StagedSplit:
    return split(packed, "eras", validation_genres=["there"])


def _silent(_share: float, _text: str) -> None:
    pass


def _trainer(parts: StagedSplit, recipe: StagedRecipe = TINY) -> StagedTrainer:
    return StagedTrainer(
        initial_model(parts.train, recipe),
        DeviceCorpus(parts.train, CPU, recipe.genre_balance),
        recipe,
        Validator(parts.validation, CPU),
        _silent,
    )


def test_the_same_seed_gives_the_same_model_and_the_record_says_what_happened(
    parts: StagedSplit,
) -> None:
    first, second = (train_staged(parts, TINY, CPU, _silent) for _ in range(2))
    for key, value in first.model.state_dict().items():
        torch.testing.assert_close(value, second.model.state_dict()[key], rtol=0, atol=0)
    assert [entry["stage"] for entry in first.history][-1] == 2
    assert set(first.history[0]["hits"]) == {"validation", "there"}
    assert first.scale in SCALES


def test_a_killed_run_resumes_to_the_same_model(
    parts: StagedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged_trainer, "SAVE_EVERY", 0.0)
    store = StagedStore(tmp_path / "state.pt", "run")
    whole = train_staged(parts, TINY, CPU, _silent)
    killed = _trainer(parts)
    killed._run_steps()
    store.save(killed.state())
    torch.manual_seed(99)  # another process has another state
    resumed = train_staged(parts, TINY, CPU, _silent, store=store)
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, resumed.model.state_dict()[key], rtol=0, atol=0)


def test_a_state_of_another_run_or_a_damaged_one_is_refused(
    parts: StagedSplit, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    StagedStore(path, "run").save(_trainer(parts).state())
    with pytest.raises(ResumeError, match="belongs to another run"):
        StagedStore(path, "another").load()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ResumeError, match="cannot be read"):
        StagedStore(path, "run").load()


def test_a_window_longer_than_the_data_is_refused(parts: StagedSplit) -> None:
    long = dataclasses.replace(
        TINY.stages[0], window=len(parts.train), learning_rate=1e-3, final_learning_rate=0.0
    )
    recipe = dataclasses.replace(TINY, stages=(TINY.stages[0], long))
    with pytest.raises(ValueError, match=f"window of {len(parts.train)} of stage 2"):
        _trainer(parts, recipe)


def test_a_device_without_memory_gets_smaller_batches_and_says_so(
    parts: StagedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []

    def small(*arguments: object) -> staged_loss.BatchLoss:
        batches.append(arguments[4])  # type: ignore[arg-type]
        if batches[-1] > 1:
            raise torch.OutOfMemoryError
        return staged_loss.batch_loss(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(staged_trainer, "batch_loss", small)
    said: list[str] = []
    trainer = _trainer(parts)
    trainer._report = lambda _share, text: said.append(text)
    trainer._run_steps()
    assert batches[:4] == [4, 2, 1, 1]
    assert "out of memory: batches of 2 sequences of 6 from here on" in said[0]


def test_a_loss_that_is_not_finite_stops_the_run(parts: StagedSplit) -> None:
    trainer = _trainer(parts)
    with torch.no_grad():
        trainer.model.input_norm.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="the loss of stage 1 is nan"):
        trainer.run()


def test_the_folded_scale_is_the_one_that_was_chosen(parts: StagedSplit) -> None:
    trainer = _trainer(parts)
    trainer.run()
    stream = torch.from_numpy(make_corpus(1, 30, seed=3).vectors)
    targets = np.array([3, 20])
    _, whole = predict_steps(trainer.finish(fold=False), stream, targets, 12)
    _, folded = predict_steps(trainer.finish(), stream, targets, 12)
    torch.testing.assert_close(folded, whole * trainer.best_scale, atol=1e-6, rtol=1e-4)


def test_steps_are_those_of_exact_windows(parts: StagedSplit) -> None:
    """Short contexts share a pass, full ones run in a batch; both equal a run on their own."""
    model = initial_model(parts.train, TINY).eval()
    with torch.no_grad():
        model.output_proj[-1].weight.normal_(std=0.02)
    stream = torch.from_numpy(make_corpus(1, 30, seed=3).vectors)
    targets = np.array([1, 5, 12, 29])
    last, step = predict_steps(model, stream, targets, 12)
    for row, target in enumerate(targets.tolist()):
        with torch.inference_mode():
            alone = model(stream[max(0, target - 12) : target, None])[0][-1, 0]
        torch.testing.assert_close(step[row], alone, atol=1e-5, rtol=1e-4)
        assert torch.equal(last[row], stream[target - 1])


def test_decayed_means_are_trained_too(parts: StagedSplit) -> None:
    """Their steps at single places are those of a pass vector by vector; no scale is folded."""
    recipe = dataclasses.replace(
        TINY,
        architecture="decayed-means",
        decays=(0.5, 0.9),
        width=32,
        initial_scale=(1.0, 1.0, -0.2),
    )
    result = train_staged(parts, recipe, CPU, _silent)
    assert result.scale == 1.0
    stream = torch.from_numpy(make_corpus(1, 30, seed=3).vectors)
    _, step = predict_steps(result.model, stream, np.array([4, 20]), 12)
    with torch.inference_mode():
        short = result.model(stream[:4, None])[0][-1, 0]
        full = result.model(stream[8:20, None])[0][-1, 0]
    torch.testing.assert_close(step, torch.stack([short, full]), atol=1e-5, rtol=1e-4)


def test_a_run_can_start_from_the_running_centre(parts: StagedSplit) -> None:
    """The untrained model has the constant step of `training.running_centre`."""
    model = initial_model(parts.train, dataclasses.replace(TINY, initial="running-centre"))
    stream = torch.from_numpy(make_corpus(1, 30, seed=3).vectors)
    _, step = predict_steps(model, stream, np.array([4, 20]), 12)
    torch.testing.assert_close(step.norm(dim=-1), torch.full((2,), 2.5), atol=0.01, rtol=0)
    with pytest.raises(ValueError, match="decayed-means has one start only"):
        dataclasses.replace(
            TINY, architecture="decayed-means", decays=(0.5,), initial="running-centre"
        )


def test_a_scale_must_not_cost_much_at_home() -> None:
    familiar = (0.2,) * 8 + (0.5, 0.49)
    foreign = (0.9,) + (0.3,) * 7 + (0.31, 0.35)
    assert choose_scale([familiar], [foreign]) == (SCALES[9], pytest.approx(0.42))


def test_there_is_no_cuda_on_demand() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no CUDA device"):
        choose_device("cuda")
