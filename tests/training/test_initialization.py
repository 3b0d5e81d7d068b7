"""Untrained Decayed Means: which rule they begin as."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from architectures.decayed_means import DecayedMeans
from corpora.corpus import Corpus
from training import recipe
from training.initialization import initialize

MEANS = replace(
    recipe.load(Path(recipe.__file__).parent / "recipes" / "phase-3m.toml"),
    width=32,
    initial_scale=(),
)


def _start(small: Corpus, **fields: object) -> DecayedMeans:
    model = initialize(small.vectors, replace(MEANS, **fields))  # type: ignore[arg-type]
    assert isinstance(model, DecayedMeans)
    return model


@pytest.mark.parametrize("whitening", [0.0, 0.4, 1.0])
def test_a_direction_counts_by_its_variance_to_the_whitening(
    small: Corpus, whitening: float
) -> None:
    """The basis, applied twice, scales by v ** -whitening, relative to the largest variance."""
    basis = _start(small, whitening=whitening).basis.double().numpy()
    gain = (basis**2).sum(axis=0)
    directions = basis / np.sqrt(gain)
    np.testing.assert_allclose(directions.T @ directions, np.eye(MEANS.width), atol=1e-5)
    variance = np.var((small.vectors - small.vectors.mean(axis=0)) @ directions, axis=0)
    np.testing.assert_allclose((variance / variance[0]) ** -whitening, gain, rtol=1e-3)


def test_directions_without_variance_are_not_lifted_without_end(small: Corpus) -> None:
    """With fewer vectors than directions, directions without variance stay finite."""
    model = initialize(small.vectors[:20], replace(MEANS, whitening=1.0))
    assert isinstance(model, DecayedMeans)
    assert torch.isfinite(model.basis).all()
    assert model.basis.norm(dim=0).max() <= 1e3 * 1.001


def test_it_begins_with_the_shares_it_is_given(small: Corpus) -> None:
    """One for the last vector and one for each mean; by default slow means have 0.1."""
    shares = (0.25, 1.0, 0.5, 0.0, 2.0)
    assert shares == tuple(_start(small, initial_scale=shares).scale.tolist())
    torch.testing.assert_close(torch.tensor([1.0, 1, 1, 1, 0.1]), _start(small).scale.detach())
