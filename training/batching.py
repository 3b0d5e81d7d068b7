"""Batches of predictions and targets from a training stream, one batch source an architecture."""

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

_PREDICTION_CHUNK = 1000
"""Positions of a stream that the Decayed Means predict at once."""


@dataclass(frozen=True)
class TrainingBatch:
    """Predicted and target unit vectors `[n, dim]`; the targets' positions in the stream `[n]`."""

    predicted: Tensor
    target: Tensor
    positions: NDArray[np.int64]


class BatchSource(Protocol):
    """The batches that a recipe makes of one training stream, with the model's predictions."""

    @property
    def batches_per_epoch(self) -> int:
        """The smallest number of batches that `epoch` yields."""
        ...

    @property
    def vectors_per_batch(self) -> int:
        """Vectors that the model reads for one batch."""
        ...

    def epoch(self, rng: np.random.Generator) -> Iterator[TrainingBatch]:
        """The batches of one epoch in random order; each is predicted when it is requested."""
        ...

    def predict_stream(self, vectors: Vectors) -> Vectors:
        """Predict `vectors[i + 1]` in row `i`, fast enough to run after every epoch.

        May return fewer rows than `vectors` `[n, dim]` has.
        """
        ...


def batch_source(model: NextVectorModel, vectors: Vectors, recipe: Recipe) -> BatchSource:
    """The batch source for `model`. Raises `ValueError` if `vectors` are too few."""
    if isinstance(model, DecayedMeans):
        return PositionBatches(model, vectors, recipe)
    return SequenceBatches(model, vectors, recipe)


class SequenceBatches:
    """Sequences of `window` vectors from a cold state; every vector has a target, or the last."""

    def __init__(self, model: NextVectorModel, vectors: Vectors, recipe: Recipe) -> None:
        self._model, self._vectors, self._recipe = model, vectors, recipe
        self._last_only = recipe.targets == "last"
        self._stride = recipe.stride if self._last_only else recipe.window
        self.vectors_per_batch = recipe.window * recipe.batch
        self.batches_per_epoch = sequences.batches_per_epoch(
            len(vectors), recipe.window, recipe.batch, self._stride
        )

    def epoch(self, rng: np.random.Generator) -> Iterator[TrainingBatch]:
        recipe, total = self._recipe, len(self._vectors)
        for positions in sequences.epoch_positions(
            total, recipe.window, recipe.batch, rng, self._stride
        ):
            rows = torch.from_numpy(self._vectors[positions])
            inputs, targets = rows[:-1], rows[1:]
            if self._last_only:
                predicted, _ = self._model.predict(inputs)
                yield TrainingBatch(predicted, targets[-1], positions[-1])
            else:
                predicted = self._model.predict_each(inputs).flatten(0, 1)
                yield TrainingBatch(predicted, targets.flatten(0, 1), positions[1:].ravel())

    def predict_stream(self, vectors: Vectors) -> Vectors:
        """One pass over rows of `window` vectors, each from a cold state.

        On average the contexts are half as long as the window, so the result is a lower bound.
        The evaluation report recomputes each position's own window.
        """
        rows = sequences.sequences(vectors, min(self._recipe.window, len(vectors) - 1), 0)
        inputs = torch.from_numpy(np.ascontiguousarray(rows[:, :-1].transpose(1, 0, 2)))
        by_row = self._model.predict_each(inputs).transpose(0, 1)
        predicted: Vectors = by_row.reshape(-1, vectors.shape[1]).numpy()
        return predicted


class PositionBatches:
    """Single positions, each with its own exact window.

    Training does not change the means, so they are computed once for the stream. With a
    `batch_span`, the positions of a batch come from that many consecutive vectors: their topics
    are similar, so that the topic alone does not separate a target from the other candidates.
    """

    def __init__(self, model: DecayedMeans, vectors: Vectors, recipe: Recipe) -> None:
        if len(vectors) <= recipe.batch:
            raise ValueError(f"{len(vectors)} vectors are too few for a batch of {recipe.batch}")
        self._model, self._recipe = model, recipe
        self._targets = torch.from_numpy(vectors[1:])
        self._directions = self._stream_directions(vectors[:-1])
        self.vectors_per_batch = recipe.batch
        self.batches_per_epoch = len(self._targets) // recipe.batch

    def epoch(self, rng: np.random.Generator) -> Iterator[TrainingBatch]:
        """With a `batch_span`, an epoch repeats some positions and leaves out others."""
        for rows in self._rows(rng):
            chosen = torch.from_numpy(rows)
            predicted = self._model.direction(self._directions[chosen].float())
            yield TrainingBatch(predicted, self._targets[chosen], rows + 1)

    def predict_stream(self, vectors: Vectors) -> Vectors:
        directions = torch.split(self._stream_directions(vectors), _PREDICTION_CHUNK)
        parts = [self._model.direction(part.float()) for part in directions]
        predicted: Vectors = torch.cat(parts).numpy()
        return predicted

    def _rows(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """The rows `[batch]` of each batch; without a `batch_span` no row repeats in an epoch."""
        total, batch = len(self._targets), self._recipe.batch
        if self._recipe.batch_span == 0:
            order = rng.permutation(total)
            for number in range(self.batches_per_epoch):
                yield order[number * batch : (number + 1) * batch]
            return
        span = min(self._recipe.batch_span, total)
        for _ in range(self.batches_per_epoch):
            # Spans may start half a span before the stream and are moved inside; otherwise
            # positions near the ends would hardly be drawn.
            first = int(rng.integers(-(span // 2), total - span // 2))
            first = min(max(0, first), total - span)
            yield first + rng.choice(span, batch, replace=False)

    def _stream_directions(self, vectors: Vectors) -> Tensor:
        """The model's directions after every vector, `[n, means + 1, width]`, in fp16.

        A mean over a window is the endless mean minus what is left of the endless mean from one
        window ago.
        """
        model, window = self._model, self._recipe.window
        decay = model.decay.numpy()[:, None]
        with torch.no_grad():
            views = model.view(torch.from_numpy(vectors))
        means = np.empty((len(vectors), len(decay), views.shape[1]), np.float32)
        mean = np.zeros(means.shape[1:], np.float32)
        for row, view in enumerate(views.numpy()):
            mean = decay * mean + (1 - decay) * view
            means[row] = mean
        for index, left in enumerate(decay[:, 0].astype(np.float64) ** window):
            before = means[:-window, index].copy()
            means[window:, index] -= np.float32(left) * before
        directions = torch.empty(len(vectors), len(decay) + 1, views.shape[1], dtype=torch.float16)
        directions[:, 0] = F.normalize(views, dim=-1)
        directions[:, 1:] = F.normalize(torch.from_numpy(means), dim=-1)
        return directions
