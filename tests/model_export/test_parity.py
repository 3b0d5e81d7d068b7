"""A graph that differs from its network is refused, and the case is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, MemoryAugmentedGRU
from model_export import parity
from model_export.numpy_reference import NumpyReference
from model_export.parity import ParityCase, ParityError
from model_export.torch_reference import TorchReference
from service.inference.engines.engine import Engine
from service.manifest import Dimensions

pytestmark = pytest.mark.slow

Array = NDArray[np.float32]
SMALL = (
    ParityCase.in_one_pass(2, 3),
    ParityCase.of_lengths((5, 1, 3)),
    ParityCase.in_pieces(1, (3, 1, 4)),
)


class TorchEngine:
    """An engine that runs the PyTorch model; subclasses spoil its output."""

    provider = "PyTorch"
    dimensions = Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN)

    def __init__(self, model: MemoryAugmentedGRU) -> None:
        self._model = model

    def run(self, vectors: Array, lengths: NDArray[np.int32], state: Array) -> tuple[Array, Array]:
        answers, states = [], []
        for row, length in enumerate(lengths):
            with torch.inference_mode():
                answer, end = self._model.predict(
                    torch.tensor(vectors[:length, row : row + 1]),
                    torch.tensor(state[:, row : row + 1]),
                )
            answers.append(answer.numpy())
            states.append(end.numpy())
        return self.spoil(np.concatenate(answers), np.concatenate(states, axis=1), lengths)

    def spoil(self, answer: Array, state: Array, lengths: NDArray[np.int32]) -> tuple[Array, Array]:
        return answer, state


class InexactEngine(TorchEngine):
    def spoil(self, answer: Array, state: Array, lengths: NDArray[np.int32]) -> tuple[Array, Array]:
        return answer + np.float32(2e-4), state


class NanEngine(TorchEngine):
    def spoil(self, answer: Array, state: Array, lengths: NDArray[np.int32]) -> tuple[Array, Array]:
        return answer * np.float32("nan"), state


class NarrowOutputEngine(TorchEngine):
    def spoil(self, answer: Array, state: Array, lengths: NDArray[np.int32]) -> tuple[Array, Array]:
        return answer[:, :1], state


class StatelessEngine(TorchEngine):
    def spoil(self, answer: Array, state: Array, lengths: NDArray[np.int32]) -> tuple[Array, Array]:
        return answer, np.zeros_like(state)


class RaggedFaultEngine(TorchEngine):
    def spoil(self, answer: Array, state: Array, lengths: NDArray[np.int32]) -> tuple[Array, Array]:
        return (answer[::-1] if len(set(lengths)) > 1 else answer), state


class ColdStartEngine(TorchEngine):
    def run(self, vectors: Array, lengths: NDArray[np.int32], state: Array) -> tuple[Array, Array]:
        return super().run(vectors, lengths, np.zeros_like(state))


def test_the_model_agrees_with_itself(model: MemoryAugmentedGRU) -> None:
    """The comparison itself adds no significant difference."""
    measured = parity.measure(TorchReference(model.weights()), TorchEngine(model), SMALL)
    assert 1e-5 > measured.max_abs_difference
    assert parity.BOUND == measured.bound
    assert [(2, 3, False), (3, 5, True), (1, 8, False)] == [
        (case.batch, case.length, case.ragged) for case in measured.cases
    ]
    assert (3, 1, 4) == measured.cases[2].pieces


def test_the_exported_graph_agrees(model: MemoryAugmentedGRU, engine: Engine) -> None:
    """Within a tenth of the limit, in each of the export's cases."""
    seen: list[str] = []
    measured = parity.measure(
        NumpyReference(model.weights()),
        engine,
        progress=lambda _done, _total, text: seen.append(text),
    )
    assert 1e-5 > measured.max_abs_difference
    assert len(parity.CASES) == len(measured.cases)
    assert "done" == seen[-1]


def test_the_cases_cover_batches_lengths_and_pieces() -> None:
    """Batches 1, 3 and 8, lengths 1 to 500, ragged rows, and 10 + 1 + 489 for 500."""
    whole = {(len(c.lengths), c.lengths[0]) for c in parity.CASES if not c.is_ragged}
    assert {(b, n) for b in (1, 3, 8) for n in (1, 7, 100, 500)} == whole
    assert any(case.is_ragged for case in parity.CASES)
    assert any((10, 1, 489) == case.pieces for case in parity.CASES)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (InexactEngine, "batch 2 of 3 vectors in one pass"),
        (NanEngine, "batch 2 of 3 vectors in one pass"),
        (NarrowOutputEngine, "batch 2 of 3 vectors in one pass"),
        (StatelessEngine, "batch 2 of 3 vectors in one pass"),
        (RaggedFaultEngine, "lengths 5, 1, 3 in one pass"),
        (ColdStartEngine, r"batch 1 of 8 vectors in pieces of \(3, 1, 4\)"),
    ],
)
def test_a_difference_is_refused_with_its_case(
    model: MemoryAugmentedGRU, wrong: type[TorchEngine], names: str
) -> None:
    """Predictions, states, NaN and shapes are compared."""
    with pytest.raises(ParityError, match=names):
        parity.measure(TorchReference(model.weights()), wrong(model), SMALL)


def test_the_vectors_look_like_text() -> None:
    """Unit length, neighbours closer than distant vectors, and the same for each seed."""
    vectors = parity.draw_walk(np.random.default_rng(0), 60, 2)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-6)
    row = vectors[:, 0]
    neighbours = (row[:-1] * row[1:]).sum(axis=1).mean()
    strangers = (row[:-30] * row[30:]).sum(axis=1).mean()
    assert 0.3 < neighbours < 0.5
    assert neighbours > strangers + 0.1
    np.testing.assert_array_equal(vectors, parity.draw_walk(np.random.default_rng(0), 60, 2))
