"""The networks in NumPy are those in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import DIM, PARAMETERS, MemoryAugmentedGRU
from architectures.model import NextVectorModel
from architectures.model_weights import decayed_means_shapes, gru_shapes
from model_export import parity
from model_export.numpy_reference import NumpyReference
from model_export.torch_reference import TorchReference

BOUND = 2e-6
"""The rounding of PyTorch's float32."""


@pytest.fixture(scope="module")
def means() -> DecayedMeans:
    """Decayed Means with random tensors."""
    torch.manual_seed(3)
    means = DecayedMeans([0.2, 0.9, 0.99], 32).eval()
    with torch.no_grad():
        for tensor in (means.centre, means.basis, means.scale, means.mix.weight, means.mix.bias):
            tensor.add_(0.1 * torch.randn_like(tensor))
    return means


def agree(model: NextVectorModel) -> None:
    """Compare predictions and states, from a cold and from a kept state."""
    weights = model.weights()
    exact, torched = NumpyReference(weights), TorchReference(weights)
    vectors = parity.draw_walk(np.random.default_rng(1), time=12, batch=3)
    state = other = None
    for begin, end in ((0, 7), (7, 8), (8, 12)):
        answer, state = exact.predict(vectors[begin:end], state)
        expected, other = torched.predict(vectors[begin:end], other)
        np.testing.assert_allclose(expected, answer, atol=BOUND)
        np.testing.assert_allclose(other, state, atol=BOUND)
    assert (3, DIM) == answer.shape


@pytest.mark.slow
def test_the_gru_agrees_with_pytorch(model: MemoryAugmentedGRU) -> None:
    agree(model)


def test_the_decayed_means_agree_with_pytorch(means: DecayedMeans) -> None:
    agree(means)


def test_a_wrong_weight_is_noticed(model: MemoryAugmentedGRU) -> None:
    """The comparison would see one bias that is off by a thousandth."""
    weights = model.weights()
    spoilt = dict(weights.tensors)
    spoilt["gru.bias_hh_l3"] = spoilt["gru.bias_hh_l3"] + np.float32(1e-3)
    vectors = parity.draw_walk(np.random.default_rng(1), time=3, batch=1)
    expected, _ = NumpyReference(weights).predict(vectors, None)
    got, _ = NumpyReference(type(weights)(weights.architecture, spoilt)).predict(vectors, None)
    assert np.abs(expected - got).max() > parity.BOUND


def test_the_shapes_are_those_of_pytorch(model: MemoryAugmentedGRU, means: DecayedMeans) -> None:
    for network, shapes in ((model, gru_shapes()), (means, decayed_means_shapes(3, 32))):
        assert {name: tuple(v.shape) for name, v in network.state_dict().items()} == shapes
        weights = network.weights()
        assert (network.dimensions, network.trainable) == (weights.dimensions, weights.trainable)
    assert PARAMETERS == model.weights().trainable
