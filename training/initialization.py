"""Initial weights: each architecture starts as the baseline rule that it can express."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, SLOTS, MemoryAugmentedGRU
from architectures.model import NextVectorModel
from training.recipe import Recipe
from training.sequences import Vectors

_SLOW_DECAY = 0.9
"""Means with a larger decay start with a scale of 0.1, the others with 1."""

_LEAST_VARIANCE = 1e-6
"""As a share of the largest. Directions with less variance are noise and are not amplified."""


def initialize(vectors: Vectors, recipe: Recipe) -> NextVectorModel:
    """An untrained model of the recipe's architecture, from the training stream `[n, dim]`."""
    torch.manual_seed(recipe.seed)
    if recipe.architecture == DecayedMeans.ARCHITECTURE:
        return initialize_means(
            vectors, recipe.decays, recipe.width, recipe.whitening, recipe.initial_scale
        )
    return _memory_augmented_gru(vectors, recipe)


def _memory_augmented_gru(vectors: Vectors, recipe: Recipe) -> MemoryAugmentedGRU:
    """Starts as *repeat the last vector*, with random training vectors in its memory."""
    rng = np.random.default_rng(recipe.seed)
    chosen = rng.choice(len(vectors), SLOTS, replace=len(vectors) < SLOTS)
    return initialize_gru(vectors[chosen], recipe.gate_bias)


def initialize_gru(slots: Vectors, gate_bias: float) -> MemoryAugmentedGRU:
    """An untrained model that repeats the last vector; `slots` `[SLOTS, dim]` fill its memory.

    The LayerNorm's shift centres the input, and the output is zero. The biases of the update
    gates range from 0 to `gate_bias`, so that some units start with a long memory.
    """
    model = MemoryAugmentedGRU()
    with torch.no_grad():
        sample = torch.from_numpy(slots)
        model.memory.memory.copy_(sample)
        model.input_norm.bias.copy_(-F.layer_norm(sample, [DIM]).mean(dim=0))
        for layer in range(LAYERS):
            # PyTorch stacks the gates reset, update, new; h' = (1 - z) n + z h.
            bias = getattr(model.gru, f"bias_hh_l{layer}")
            bias[HIDDEN : 2 * HIDDEN] = torch.linspace(0, gate_bias, HIDDEN)
        output = model.output_proj[3]
        assert isinstance(output, nn.Linear)
        output.weight.zero_()
        output.bias.zero_()
    return model


def initialize_means(
    vectors: Vectors,
    decays: Sequence[float],
    width: int,
    whitening: float,
    initial_scale: Sequence[float],
) -> DecayedMeans:
    """An untrained model that is a weighted sum of decayed centred means.

    The basis is applied twice, to the input and to the output, and together they scale a
    principal direction of variance v by v ** -whitening. Few directions hold most of the
    variance and carry the topic; the others tell the sentences of one topic apart. Without an
    `initial_scale`, the last vector and the fast means start with 1, the slow ones with 0.1.
    """
    model = DecayedMeans(decays, width)
    centre = vectors.mean(axis=0)
    covariance = np.cov((vectors - centre).T.astype(np.float64))
    variances, directions = np.linalg.eigh(covariance)  # ascending
    variances, principal = variances[::-1][:width], directions[:, ::-1][:, :width]
    relative = np.maximum(variances / variances[0], _LEAST_VARIANCE)
    principal = principal * relative ** (-whitening / 2)
    with torch.no_grad():
        model.centre.copy_(torch.from_numpy(centre))
        model.basis.copy_(torch.from_numpy(principal.copy()))
        slow = torch.cat([torch.zeros(1), model.decay]) > _SLOW_DECAY
        model.scale.copy_(torch.where(slow, 0.1, 1.0))
        if initial_scale:
            model.scale.copy_(torch.tensor(initial_scale))
    return model
