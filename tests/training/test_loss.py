"""The loss, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from training.loss import next_vector_loss

EYE = torch.eye(2)


@pytest.mark.parametrize(
    ("predicted", "cosine", "contrast"),
    [
        # Right: logits (1/τ, 0), so InfoNCE is log(1 + e^(-1/τ)).
        (EYE, 0.0, math.log1p(math.exp(-2))),
        # Each predicts the other's target.
        (EYE.flip(0), 1.0, math.log1p(math.exp(2))),
        # Half way between both: no preference, log 2.
        (torch.full((2, 2), math.sqrt(0.5)), 1 - math.sqrt(0.5), math.log(2)),
    ],
)
def test_the_loss_is_cosine_plus_alpha_times_infonce(
    predicted: torch.Tensor, cosine: float, contrast: float
) -> None:
    """Temperature 0.5, alpha 0.03."""
    alone, both = next_vector_loss(predicted, EYE, alpha=0.03, temperature=0.5)
    assert cosine == pytest.approx(alone.item(), abs=1e-6)
    assert cosine + 0.03 * contrast == pytest.approx(both.item(), abs=1e-6)


def test_hard_negatives_count_where_there_are_any() -> None:
    """The first row's negative equals its target; the second row has none."""
    vectors = torch.zeros(2, 1, 2)
    vectors[0, 0] = EYE[0]
    present = torch.tensor([[True], [False]])
    _, both = next_vector_loss(EYE, EYE, 1.0, 0.5, (vectors, present))
    first, second = math.log(2 + math.exp(-2)), math.log1p(math.exp(-2))
    assert (first + second) / 2 == pytest.approx(both.item(), abs=1e-6)
