"""The kernels and their launchers on an emulated device, compared with NumPy."""

from __future__ import annotations

from math import erf

import numpy as np
import pytest

from service.errors import EngineFault
from service.inference.engines.cuda import cuda_engine
from service.inference.engines.cuda.cuda_engine import CudaEngine, largest_difference
from service.inference.engines.cuda.driver import CudaError
from service.inference.engines.cuda.graph_weights import (
    GruWeights,
    HeadWeights,
    UnsupportedGraphError,
)
from service.inference.engines.cuda.gru_kernels import GruKernels
from service.manifest import Dimensions
from tests.support import emulated_cuda

pytestmark = pytest.mark.slow

SIZES = Dimensions(dim=256, layers=2, hidden=128)
SLOTS, EXPANDED = 384, 256


def weights() -> tuple[GruWeights, HeadWeights]:
    rng = np.random.default_rng(7)

    def draw(*shape, scale=0.1):
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    dim, layers, hidden = SIZES.dim, SIZES.layers, SIZES.hidden
    w = draw(layers, 3 * hidden, hidden)
    w[0] = 0
    gru = GruWeights(
        draw(3 * hidden, dim),
        w,
        draw(layers, 3 * hidden, hidden),
        draw(layers, 3 * hidden),
        draw(layers, 3 * hidden),
        1e-5,
    )
    head = HeadWeights(
        draw(dim + SLOTS + hidden, hidden),
        draw(dim + SLOTS + hidden),
        draw(hidden, SLOTS),
        draw(EXPANDED, hidden),
        draw(EXPANDED),
        draw(dim, EXPANDED),
        draw(dim),
        1e-5,
    )
    return gru, head


class PlainEngine:
    """The same network in NumPy, computed in double precision."""

    provider = "CPUExecutionProvider"
    precision = "fp32"
    concurrent = False
    dimensions = SIZES

    def __init__(self):
        self._gru, self._head = weights()

    def run(self, vectors, lengths, state):
        predicted = np.empty(vectors.shape[1:], np.float32)
        states = np.empty_like(state)
        for row, length in enumerate(lengths):
            sequence = _normalise(vectors[:length, row].astype(float), self._gru.epsilon)
            for layer in range(SIZES.layers):
                w = self._gru.w[layer] if layer else self._gru.w0
                sequence = self._layer(layer, sequence @ w.T, state[layer, row].astype(float))
                states[layer, row] = sequence[-1]
            vector = vectors[length - 1, row] + self._step(sequence[-1])
            predicted[row] = vector / np.linalg.norm(vector)
        return predicted, states

    def _layer(self, layer, inputs, hidden):
        states = []
        for projected in inputs + self._gru.bi[layer]:
            own = self._gru.u[layer] @ hidden + self._gru.bh[layer]
            (a, b, c), (d, e, f) = np.split(projected, 3), np.split(own, 3)
            reset, update = 1 / (1 + np.exp(-a - d)), 1 / (1 + np.exp(-b - e))
            new = np.tanh(c + reset * f)
            hidden = (1 - update) * new + update * hidden
            states.append(hidden)
        return np.array(states)

    def _step(self, hidden):
        head = self._head
        query, products, own = np.split(
            head.first @ hidden + head.first_bias, [SIZES.dim, SIZES.dim + SLOTS]
        )
        attention = np.exp(products / np.linalg.norm(query))
        fused = _gelu(own + head.content @ (attention / attention.sum()))
        expanded = _gelu(head.expand @ _normalise(fused, head.epsilon) + head.expand_bias)
        return head.output @ expanded + head.output_bias


def _normalise(rows, epsilon):
    centred = rows - rows.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)


def _gelu(x):
    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))


@pytest.fixture
def engine(monkeypatch, tmp_path_factory):
    emulated_cuda.install(monkeypatch, tmp_path_factory.getbasetemp())
    kernels = GruKernels(emulated_cuda.EmulatedDevice(), SIZES, *weights())
    return CudaEngine(kernels, most_rows=8)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 11])
def test_steps_equal_the_network(engine, rows):
    """Each row steps from its own state. 11 rows take two launches of at most 8."""
    assert 1e-5 > _difference(engine, [1] * rows)


@pytest.mark.parametrize("lengths", [[2], [5], [3, 3], [4, 1], [1, 6, 3]])
def test_contexts_equal_the_network(engine, lengths):
    """Each row returns the prediction at its own end, whatever the lengths of the others."""
    assert 1e-5 > _difference(engine, lengths)


def test_a_long_context_is_copied_in_slices(engine):
    """A context longer than the first slice, followed by a short one in the same buffers."""
    assert 1e-5 > _difference(engine, [70])
    assert 1e-5 > _difference(engine, [3])


def test_few_multiprocessors_run_a_layer_at_a_time(monkeypatch, tmp_path_factory):
    """If not all layers fit at once, several launches follow each other."""
    emulated_cuda.install(monkeypatch, tmp_path_factory.getbasetemp())
    kernels = GruKernels(emulated_cuda.EmulatedDevice(multiprocessors=9), SIZES, *weights())
    assert 1e-5 > _difference(CudaEngine(kernels), [4, 2])


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (emulated_cuda.EmulatedDevice(multiprocessors=7), "need 8 multiprocessors"),
        (emulated_cuda.EmulatedDevice(shared_bytes=16_000), "of shared memory"),
    ],
)
def test_a_device_that_is_too_small_is_refused(monkeypatch, tmp_path_factory, device, reason):
    """The error names the resource that is too small."""
    emulated_cuda.install(monkeypatch, tmp_path_factory.getbasetemp())
    with pytest.raises(UnsupportedGraphError, match=reason):
        GruKernels(device, SIZES, *weights())


def test_the_comparison_at_load_detects_different_weights(engine, monkeypatch):
    """A small change of one weight exceeds the tolerance."""
    monkeypatch.setattr(cuda_engine, "_CASES", ((1, 1), (3, 2)))
    other = PlainEngine()
    assert 1e-5 > largest_difference(engine, other)
    other._gru.bh[1, 5] += 0.01
    assert 1e-4 < largest_difference(engine, other)


def test_a_timeout_in_the_kernel_is_an_engine_fault(engine, monkeypatch):
    """The incomplete result is not returned."""

    def fail(*_arguments):
        raise CudaError("a block of the kernel timed out waiting for another block")

    monkeypatch.setattr(engine._steps[0], "run", fail)
    with pytest.raises(EngineFault, match="timed out"):
        _difference(engine, [1])


def _difference(engine, lengths):
    rng = np.random.default_rng(len(lengths))
    vectors = rng.standard_normal((max(lengths), len(lengths), SIZES.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    state = rng.uniform(-1, 1, (SIZES.layers, len(lengths), SIZES.hidden)).astype(np.float32)
    batch = vectors, np.array(lengths, np.int32), state
    ours, theirs = engine.run(*batch), PlainEngine().run(*batch)
    return max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))
