"""Batches: what is predicted, from which window, and which vector follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from architectures.decayed_means import DecayedMeans
from corpora.corpus import Corpus
from training import recipe
from training.batching import PositionBatches, SequenceBatches, batch_source
from training.initialization import initialize

RECIPES = Path(recipe.__file__).parent / "recipes"
MEANS = replace(recipe.load(RECIPES / "phase-3m.toml"), batch=50, batch_span=0, width=32, window=20)
LAST = replace(recipe.load(RECIPES / "phase-2-original.toml"), window=12, stride=5, batch=4)


def test_a_position_is_predicted_from_its_own_exact_window(small: Corpus) -> None:
    """The means computed once for the stream equal those of each window."""
    model = initialize(small.vectors, MEANS).eval()
    assert isinstance(model, DecayedMeans)
    taken = batch_source(model, small.vectors, MEANS)
    assert isinstance(taken, PositionBatches)
    with torch.inference_mode():
        batch = next(iter(taken.epoch(np.random.default_rng(0))))
        for row, place in enumerate(batch.positions[:10]):
            window = small.vectors[max(0, place - MEANS.window) : place, None]
            expected, _ = model.predict(torch.from_numpy(window))
            torch.testing.assert_close(expected[0], batch.predicted[row], atol=1e-3, rtol=0)
            assert (small.vectors[place] == batch.target[row].numpy()).all()


def test_every_position_is_a_target_once_an_epoch(small: Corpus) -> None:
    """Except a remainder that is smaller than a batch."""
    model = initialize(small.vectors, MEANS)
    taken = batch_source(model, small.vectors, MEANS)
    places = np.concatenate([b.positions for b in taken.epoch(np.random.default_rng(0))])
    assert len(places) == len(set(places.tolist())) == MEANS.batch * taken.batches_per_epoch
    assert places.min() >= 1


def test_a_stretch_holds_all_of_a_batch(small: Corpus) -> None:
    """No position repeats, and all parts of the stream are drawn, the ends included."""
    chosen = replace(MEANS, batch=10, batch_span=30)
    taken = batch_source(initialize(small.vectors, chosen), small.vectors, chosen)
    rng = np.random.default_rng(0)
    batches = [batch.positions for _ in range(20) for batch in taken.epoch(rng)]
    assert {10} == {len(set(places.tolist())) for places in batches}
    assert max(int(np.ptp(places)) for places in batches) < chosen.batch_span
    drawn = np.bincount(np.concatenate(batches), minlength=len(small.vectors))[1:]
    assert drawn.min() > 0
    assert drawn[:5].mean() > drawn.mean() / 3


def test_a_stretch_longer_than_the_stream_is_all_of_it(small: Corpus) -> None:
    """A small corpus trains by the same recipe."""
    chosen = replace(MEANS, batch_span=8000)
    taken = batch_source(initialize(small.vectors, chosen), small.vectors, chosen)
    places = next(iter(taken.epoch(np.random.default_rng(0)))).positions
    assert chosen.batch == len(set(places.tolist()))


@pytest.mark.slow
def test_the_original_recipe_has_one_target_a_sequence(small: Corpus) -> None:
    """Its last vector's successor; sequences begin every `stride` vectors."""
    model = initialize(small.vectors, LAST).eval()
    taken = batch_source(model, small.vectors, LAST)
    assert isinstance(taken, SequenceBatches)
    with torch.inference_mode():
        batches = list(taken.epoch(np.random.default_rng(0)))
    places = np.concatenate([batch.positions for batch in batches])
    assert {1} == set(np.unique(np.diff(np.sort(places)) % LAST.stride == 0).astype(int).tolist())
    assert len(batches) >= taken.batches_per_epoch
    assert (LAST.batch, 768) == batches[0].predicted.shape
    assert (small.vectors[batches[0].positions] == batches[0].target.numpy()).all()


def test_too_few_vectors_are_refused(small: Corpus) -> None:
    """Before anything is computed."""
    model = initialize(small.vectors, MEANS)
    with pytest.raises(ValueError, match="40 vectors are too few for a batch of 50"):
        batch_source(model, small.vectors[:40], MEANS)
