"""How a recipe goes through a stream: what a batch is, and what is predicted from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from architectures.decayed_means import DecayedMeans
from architectures.model import NextVectorModel
from training import sequences
from training.recipe import Recipe
from training.sequences import Vectors


@dataclass(frozen=True)
class TrainingBatch:
    """Predicted and target unit vectors `[n, dim]`, and the targets' places in the stream `[n]`."""

    predicted: Tensor
    target: Tensor
    places: NDArray[np.int64]


class BatchSource(Protocol):
    """A stream cut into batches by a recipe."""

    @property
    def batches(self) -> int:
        """At least how many `epoch` yields."""
        ...

    @property
    def vectors_in_batch(self) -> int:
        """How many vectors the model reads for a batch."""
        ...

    def epoch(self, rng: np.random.Generator) -> Iterator[TrainingBatch]:
        """As many batches as one pass has, in random order, each made when it is asked for.

        Of stretches some positions come twice and some not at all.
        """
        ...

    def held_out(self, vectors: Vectors) -> Vectors:
        """Row i of the answer predicts row i + 1 of `vectors` `[n, dim]`; some at the end
        may have no answer."""
        ...


def batch_source(model: NextVectorModel, vectors: Vectors, recipe: Recipe) -> BatchSource:
    """The lessons that `model` can take. Raises `ValueError` when `vectors` are too few."""
    if isinstance(model, DecayedMeans):
        return PositionBatches(model, vectors, recipe)
    return SequenceBatches(model, vectors, recipe)


class SequenceBatches:
    """Rows of `window` vectors, each from a cold state; a target at every vector or the last."""

    def __init__(self, model: NextVectorModel, vectors: Vectors, recipe: Recipe) -> None:
        self._model, self._vectors, self._recipe = model, vectors, recipe
        self._last = recipe.targets == "last"
        self._stride = recipe.stride if self._last else recipe.window
        self.vectors_in_batch = recipe.window * recipe.batch
        self.batches = sequences.batches_in_epoch(
            len(vectors), recipe.window, recipe.batch, self._stride
        )

    def epoch(self, rng: np.random.Generator) -> Iterator[TrainingBatch]:
        recipe, vectors = self._recipe, self._vectors
        for rows in sequences.epoch(len(vectors), recipe.window, recipe.batch, rng, self._stride):
            read = torch.from_numpy(vectors[rows])
            if self._last:
                yield TrainingBatch(self._model.predict(read[:-1])[0], read[-1], rows[-1])
            else:
                predicted = self._model.predict_each(read[:-1]).flatten(0, 1)
                yield TrainingBatch(predicted, read[1:].flatten(0, 1), rows[1:].ravel())

    def held_out(self, vectors: Vectors) -> Vectors:
        """In one dense pass: rows of `window`, each from a cold state.

        Cheap enough for every epoch. The contexts are shorter than the window on
        average; the evaluation report recomputes each position's own.
        """
        rows = sequences.sequences(vectors, min(self._recipe.window, len(vectors) - 1), 0)
        inputs = torch.from_numpy(np.ascontiguousarray(rows[:, :-1].transpose(1, 0, 2)))
        each = self._model.predict_each(inputs).transpose(0, 1)
        dense: Vectors = each.reshape(-1, vectors.shape[1]).numpy()
        return dense


class PositionBatches:
    """Single positions from anywhere in the stream, each with its own exact window.

    The means have no weights that training moves, so that they are computed
    once. A batch comes from anywhere in the stream, or from one `stretch` of it: among
    documents of one time, the time itself tells no target from another, so that what is
    learnt is not which words go with which time.
    """

    def __init__(self, model: DecayedMeans, vectors: Vectors, recipe: Recipe) -> None:
        if len(vectors) <= recipe.batch:
            raise ValueError(f"{len(vectors)} vectors are too few for a batch of {recipe.batch}")
        self._model, self._recipe = model, recipe
        self._targets = torch.from_numpy(vectors[1:])
        self._directions = self._read(vectors[:-1])
        self.vectors_in_batch = recipe.batch
        self.batches = len(self._targets) // recipe.batch

    def epoch(self, rng: np.random.Generator) -> Iterator[TrainingBatch]:
        for places in self._places(rng):
            chosen = torch.from_numpy(places)
            predicted = self._model.direction(self._directions[chosen].float())
            yield TrainingBatch(predicted, self._targets[chosen], places + 1)

    def _places(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Each batch's places `[batch]`: without a stretch, each place in one batch at most."""
        total, batch = len(self._targets), self._recipe.batch
        if self._recipe.stretch == 0:
            order = rng.permutation(total)
            yield from (order[i * batch : (i + 1) * batch] for i in range(self.batches))
            return
        stretch = min(self._recipe.stretch, total)
        for _ in range(self.batches):
            # From half a stretch past either end on: else what lies there would hardly be drawn.
            first = int(rng.integers(-(stretch // 2), total - stretch // 2))
            first = min(max(0, first), total - stretch)
            yield first + rng.choice(stretch, batch, replace=False)

    def held_out(self, vectors: Vectors) -> Vectors:
        parts = [
            self._model.direction(part.float()) for part in torch.split(self._read(vectors), 1000)
        ]
        dense: Vectors = torch.cat(parts).numpy()
        return dense

    def _read(self, vectors: Vectors) -> Tensor:
        """The model's directions after every vector, `[n, means + 1, dim]`, in fp16.

        A mean over a window is the endless one less what that was a window ago, faded.
        """
        model, window = self._model, self._recipe.window
        decay = model.decay.numpy()[:, None]
        with torch.no_grad():
            seen = model.view(torch.from_numpy(vectors))
        means = np.empty((len(vectors), len(decay), seen.shape[1]), np.float32)
        mean = np.zeros(means.shape[1:], np.float32)
        for row, vector in enumerate(seen.numpy()):
            mean = decay * mean + (1 - decay) * vector
            means[row] = mean
        for index, faded in enumerate(decay[:, 0].astype(np.float64) ** window):
            before = means[:-window, index].copy()
            means[window:, index] -= np.float32(faded) * before
        out = torch.empty(len(vectors), len(decay) + 1, seen.shape[1], dtype=torch.float16)
        out[:, 0] = F.normalize(seen, dim=-1)
        out[:, 1:] = F.normalize(torch.from_numpy(means), dim=-1)
        return out
