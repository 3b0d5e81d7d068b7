"""Untrained models, each beginning as the rule that its architecture comes nearest to."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, SLOTS, MemoryAugmentedGRU
from architectures.model import NextVectorModel
from training.recipe import Recipe
from training.sequences import Vectors

_NEAR = 0.9
"""Means that fade faster than this begin with a full share; the slower ones with a tenth.
Unless the recipe says otherwise."""


_LEAST_VARIANCE = 1e-6
"""Of the largest: a direction in which nothing varies is noise, not to be lifted further."""


def initialise(vectors: Vectors, recipe: Recipe) -> NextVectorModel:
    """An untrained model of the recipe's architecture; `vectors` are the training stream."""
    torch.manual_seed(recipe.seed)
    if recipe.architecture == DecayedMeans.ARCHITECTURE:
        return _decayed_means(vectors, recipe)
    return _memory_augmented_gru(vectors, recipe)


def _memory_augmented_gru(vectors: Vectors, recipe: Recipe) -> MemoryAugmentedGRU:
    """It starts as *repeat the last vector*.

    Centring goes into the LayerNorm's shift, the memory's slots are training
    vectors, the update gates' biases spread from 0 to `gate_bias` so that some
    units begin with a long memory, and the output starts at zero.
    """
    model = MemoryAugmentedGRU()
    rng = np.random.default_rng(recipe.seed)
    chosen = rng.choice(len(vectors), SLOTS, replace=len(vectors) < SLOTS)
    with torch.no_grad():
        sample = torch.from_numpy(vectors[chosen])
        model.memory.memory.copy_(sample)
        model.input_norm.bias.copy_(-F.layer_norm(sample, [DIM]).mean(dim=0))
        for layer in range(LAYERS):
            # PyTorch's gates are stacked reset, update, new; h' = (1-z) n + z h.
            bias = getattr(model.gru, f"bias_hh_l{layer}")
            bias[HIDDEN : 2 * HIDDEN] = torch.linspace(0, recipe.gate_bias, HIDDEN)
        last = model.output_proj[3]
        assert isinstance(last, nn.Linear)
        last.weight.zero_()
        last.bias.zero_()
    return model


def _decayed_means(vectors: Vectors, recipe: Recipe) -> DecayedMeans:
    """It starts as a sum of decayed centred means, mostly of the recent ones.

    Seen through the basis going in and coming out, a direction of variance v counts
    v ** -whitening of what it did: where few directions hold most of the variance, they
    say what the text is about, and the others say which sentence of it this is.
    """
    model = DecayedMeans(recipe.decays, recipe.width)
    centre = vectors.mean(axis=0)
    covariance = np.cov((vectors - centre).T.astype(np.float64))
    variances, directions = np.linalg.eigh(covariance)  # ascending
    variances, principal = variances[::-1][: recipe.width], directions[:, ::-1][:, : recipe.width]
    relative = np.maximum(variances / variances[0], _LEAST_VARIANCE)
    principal = principal * relative ** (-recipe.whitening / 2)
    with torch.no_grad():
        model.centre.copy_(torch.from_numpy(centre))
        model.basis.copy_(torch.from_numpy(principal.copy()))
        slow = torch.cat([torch.zeros(1), model.decay]) > _NEAR
        model.scale.copy_(torch.where(slow, 0.1, 1.0))
        if recipe.shares:
            model.scale.copy_(torch.tensor(recipe.shares))
    return model
