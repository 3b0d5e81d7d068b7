"""Exact contexts: each position's own window, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from architectures.memory_augmented_gru import MemoryAugmentedGRU
from corpora.corpus import Corpus
from training.prediction import predict_exact


@pytest.fixture(scope="module")
def model() -> MemoryAugmentedGRU:
    torch.manual_seed(1)
    return MemoryAugmentedGRU().eval()


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
    """Neither what comes after it, nor what precedes its window, has an effect."""
    stream, targets = small.vectors[:60], np.array([5, 40])
    changed = stream.copy()
    changed[5:30] *= -1
    changed[40:] *= -1
    np.testing.assert_array_equal(
        predict_exact(model, stream, targets, 8), predict_exact(model, changed, targets, 8)
    )
