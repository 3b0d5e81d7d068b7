"""A run that was killed ends in the model of one that was not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from corpora import corpus
from corpora.corpus import Corpus, CorpusSplit
from training import recipe
from training.checkpoint_store import CheckpointStore, ResumeError
from training.recipe import Recipe
from training.trainer import TrainingResult, train

pytestmark = pytest.mark.slow

RECIPES = Path(recipe.__file__).parent / "recipes"
GRU = replace(
    recipe.load(RECIPES / "phase-2.toml"), name="tiny", window=8, batch=8, epochs=3, patience=9
)
MEANS = replace(
    recipe.load(RECIPES / "phase-3m.toml"), name="means", batch=64, epochs=3, width=16, window=20
)


class _KilledError(Exception):
    """Stands for a kill signal: nothing after it runs."""


def _train(
    split: CorpusSplit, chosen: Recipe, store: CheckpointStore | None, killed_in: int = 0
) -> TrainingResult:
    def progress(_done: int, _total: int, text: str) -> None:
        if killed_in and text.startswith(f"epoch {killed_in} loss"):
            raise _KilledError

    return train(split, chosen, progress, store=store)


@pytest.fixture(scope="module")
def split(small: Corpus) -> CorpusSplit:
    return corpus.split_every(small)


@pytest.mark.parametrize("chosen", [GRU, MEANS], ids=lambda chosen: chosen.name)
def test_a_killed_run_ends_as_one_that_was_not(
    split: CorpusSplit, tmp_path: Path, chosen: Recipe
) -> None:
    """Killed in its second epoch and again in its third: the same weights, bit for bit."""
    expected = _train(split, chosen, None)
    store = CheckpointStore(tmp_path / "out" / "run.pt", "this run")
    for epoch in (2, 3):
        with pytest.raises(_KilledError):
            _train(split, chosen, store, killed_in=epoch)
    actual = _train(split, chosen, store)
    for key, value in expected.model.state_dict().items():
        assert torch.equal(value, actual.model.state_dict()[key]), key
    assert [e.hit_at_5 for e in expected.history] == [e.hit_at_5 for e in actual.history]
    assert [e.loss for e in expected.history] == [e.loss for e in actual.history]
    assert expected.best.epoch == actual.best.epoch


def test_another_runs_place_is_refused(split: CorpusSplit, tmp_path: Path) -> None:
    """The message says what to do; so for a damaged file. Without a file, a run starts."""
    path = tmp_path / "run.pt"
    assert CheckpointStore(path, "this run").load() is None
    _train(split, replace(MEANS, epochs=1), CheckpointStore(path, "this run"))
    assert CheckpointStore(path, "this run").load() is not None
    with pytest.raises(ResumeError, match=r"belongs to another run .* --restart"):
        CheckpointStore(path, "another run").load()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ResumeError, match=r"run\.pt: cannot be read .* remove it"):
        CheckpointStore(path, "this run").load()
    CheckpointStore(path, "this run").remove()
    assert [] == list(tmp_path.iterdir())


def test_a_write_that_was_cut_off_leaves_the_place_before(
    split: CorpusSplit, tmp_path: Path
) -> None:
    """A partial file is overwritten by the next write."""
    store = CheckpointStore(tmp_path / "run.pt", "this run")
    _train(split, replace(MEANS, epochs=1), store)
    (tmp_path / ".run.pt.partial").write_bytes(b"half of it")
    place = store.load()
    assert place is not None
    store.save(place)
    assert [store.path] == list(tmp_path.iterdir())
