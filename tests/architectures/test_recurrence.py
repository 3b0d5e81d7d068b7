"""The training pass of the GRU equals `nn.GRU`: output, state, gradients and dropout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures import recurrence
from architectures.memory_augmented_gru import DIM, MemoryAugmentedGRU

TIME, BATCH, WIDTH, HIDDEN, LAYERS = 7, 3, 6, 5, 3


def _gru(dropout: float) -> nn.GRU:
    torch.manual_seed(1)
    return nn.GRU(WIDTH, HIDDEN, num_layers=LAYERS, dropout=dropout).double()


def _ours(gru: nn.GRU, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    return recurrence.gru(gru, F.linear(inputs, gru.weight_ih_l0, gru.bias_ih_l0), state)


def _gradients(gru: nn.GRU, inputs: Tensor, state: Tensor, output: Tensor) -> list[Tensor]:
    """The gradients of a sum that weights each output differently."""
    weights = torch.arange(output.numel(), dtype=output.dtype).sin().view_as(output)
    return list(torch.autograd.grad((weights * output).sum(), [inputs, state, *gru.parameters()]))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_output_state_and_gradients_equal_torchs(dropout: float) -> None:
    """From a non-zero state, with the same dropout from the same seed."""
    gru = _gru(dropout)
    inputs = torch.randn(TIME, BATCH, WIDTH).double().requires_grad_()
    state = torch.randn(LAYERS, BATCH, HIDDEN).double().requires_grad_()
    torch.manual_seed(2)
    expected, expected_state = gru(inputs, state)
    torch.manual_seed(2)
    actual, actual_state = _ours(gru, inputs, state)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(actual_state, expected_state)
    for mine, theirs in zip(
        _gradients(gru, inputs, state, actual),
        _gradients(gru, inputs, state, expected),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_a_missing_state_means_zeros() -> None:
    """As in `nn.GRU`."""
    gru = _gru(0.0)
    inputs = torch.randn(TIME, BATCH, WIDTH).double()
    torch.testing.assert_close(_ours(gru, inputs, None)[0], gru(inputs)[0])


def test_training_and_inference_passes_agree() -> None:
    """Without dropout they differ only by rounding."""
    torch.manual_seed(0)
    model = MemoryAugmentedGRU(dropout=0.0)
    vectors = F.normalize(torch.randn(9, 2, DIM), dim=-1)
    with torch.inference_mode():
        hidden, state = model.train().encode(vectors)
        expected, expected_state = model.eval().encode(vectors)
    torch.testing.assert_close(hidden, expected)
    torch.testing.assert_close(state, expected_state)
