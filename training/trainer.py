"""The training run: epochs, early stopping, and going on where a killed run was."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from architectures.memory_augmented_gru import MemoryAugmentedGRU
from architectures.model import NextVectorModel
from corpora import candidate_pool, retrieval_metrics
from corpora.corpus import CorpusSplit
from training.batching import BatchSource, TrainingBatch, batch_source
from training.checkpoint_store import CheckpointStore, TrainingState
from training.initialization import initialise
from training.loss import next_vector_loss
from training.recipe import Recipe
from training.sequences import Vectors

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, text)` after every step of the optimiser."""


class NegativeSampler(Protocol):
    """Hard negatives of training vectors, by their places in the training stream `[n]`."""

    def __call__(self, targets: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.bool_]]:
        """Vectors `[n, k, dim]`, and which of them there are `[n, k]`."""
        ...


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch gave; `hit_at_5` is on the held-out pool, in 0..1."""

    epoch: int
    loss: float
    cosine: float
    hit_at_5: float
    seconds: float
    vectors_per_second: float

    @property
    def vectors(self) -> int:
        """How many the model read, forward and backward."""
        return round(self.vectors_per_second * self.seconds)


@dataclass(frozen=True)
class TrainingResult:
    """The weights kept, the epoch they are of, and every epoch's figures."""

    model: NextVectorModel
    best: EpochMetrics
    history: tuple[EpochMetrics, ...]

    def as_json(self, recipe: Recipe) -> dict[str, object]:
        return {
            "recipe": asdict(recipe),
            "best_epoch": self.best.epoch,
            "history": [asdict(epoch) for epoch in self.history],
        }


def train(
    split: CorpusSplit,
    recipe: Recipe,
    progress: Progress,
    start: NextVectorModel | None = None,
    negatives: NegativeSampler | None = None,
    keeper: CheckpointStore | None = None,
) -> TrainingResult:
    """Train by `recipe`; stop when Hit@5 has not improved for `patience` epochs.

    From `start`'s weights where it is given, else from `initialise`'s. The best
    epoch's weights are kept; with a `patience` of 0 the last one's.

    The same seed on the same machine gives the same model, interrupted or not:
    `keeper` keeps the place after every epoch, and where it has one the run goes
    on from it. Raises `ResumeError`, and `ValueError` when there are too few vectors.
    """
    place = keeper.load() if keeper else None
    model = start or initialise(split.train.vectors, recipe)
    run = Trainer(split, recipe, model, progress, negatives)
    if place is not None:
        run.resume(place)
    while not run.over:
        run.epoch()
        if keeper is not None:
            keeper.save(run.place())
    return run.result()


class Trainer:
    """A run between two epochs."""

    def __init__(
        self,
        split: CorpusSplit,
        recipe: Recipe,
        model: NextVectorModel,
        progress: Progress,
        negatives: NegativeSampler | None,
    ) -> None:
        self._recipe, self._model, self._progress = recipe, model, progress
        self._negatives = negatives
        self._held_out = split.held_out.vectors
        held_out = len(self._held_out)
        for what, count in (("train on", len(split.train.vectors)), ("hold out", held_out)):
            if count <= recipe.window:
                raise ValueError(
                    f"{count} vectors to {what} are too few for a window of {recipe.window}"
                )
        self._pool = candidate_pool.random_pool(held_out, size=min(1000, held_out - 1), seed=0)
        self._lessons: BatchSource = batch_source(model, split.train.vectors, recipe)
        self._steps_in_epoch = math.ceil(self._lessons.batches / recipe.accumulate)
        self._total = self._steps_in_epoch * recipe.epochs
        _set_dropout(model, recipe.dropout)
        self._start = {key: value.clone() for key, value in model.state_dict().items()}
        self._optimiser = torch.optim.AdamW(
            model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        torch.manual_seed(recipe.seed)  # for dropout, wherever the weights came from
        self._rng = np.random.default_rng(recipe.seed)
        self._steps = 0
        self._history: list[EpochMetrics] = []
        self._kept: dict[str, Tensor] = {}

    @property
    def over(self) -> bool:
        done = len(self._history)
        if done == 0 or done >= self._recipe.epochs:
            return done > 0
        return 0 < self._recipe.patience <= done - self._best.epoch

    @property
    def _best(self) -> EpochMetrics:
        if self._recipe.patience == 0:
            return self._history[-1]
        return max(self._history, key=lambda epoch: epoch.hit_at_5)  # the first of equals

    def epoch(self) -> None:
        number = len(self._history) + 1
        began = time.perf_counter()
        self._model.train()
        figures: list[tuple[float, float]] = []
        batches = self._lessons.epoch(self._rng)
        half = self._recipe.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            while now := self._step(batches):
                figures += now
                done = min(self._steps, self._total)
                self._progress(done, self._total, f"epoch {number} loss {now[-1][1]:.4f}")
        seconds = time.perf_counter() - began
        cosine, loss = np.mean(figures, axis=0)
        if not np.isfinite(loss):
            raise ValueError(
                f"the loss of epoch {number} is {loss}: the recipe's learning_rate may be too high"
            )
        weights = self._moved()
        hit = self._hit_at_5(weights)
        rate = len(figures) * self._lessons.vectors_in_batch / seconds
        latest = EpochMetrics(number, float(loss), float(1 - cosine), hit, seconds, rate)
        self._history.append(latest)
        if self._best is latest:
            self._kept = weights
        self._progress(
            min(self._steps, self._total),
            self._total,
            f"epoch {number} Hit@5 {hit:.4f} (kept: epoch {self._best.epoch}), "
            f"{rate:,.0f} vectors per second, {seconds:.0f} s",
        )

    def _step(self, batches: Iterator[TrainingBatch]) -> list[tuple[float, float]]:
        """One step of the optimiser on the next batches; no figures when there are none."""
        recipe = self._recipe
        self._optimiser.zero_grad(set_to_none=True)
        figures = []
        for batch in islice(batches, recipe.accumulate):
            cosine, loss = next_vector_loss(
                batch.predicted,
                batch.target,
                recipe.alpha,
                recipe.temperature,
                self._hard(batch.places),
            )
            loss.backward()  # type: ignore[no-untyped-call]
            figures.append((cosine.item(), loss.item()))
        if not figures:
            return []
        for parameter in self._model.parameters():
            if parameter.grad is not None and len(figures) > 1:
                parameter.grad /= len(figures)
        nn.utils.clip_grad_norm_(self._model.parameters(), recipe.gradient_clip)
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.learning_rate * _warm_up_then_cosine(
                self._steps, self._steps_in_epoch, self._total
            )
        self._optimiser.step()
        self._steps += 1
        return figures

    def _hard(self, places: NDArray[np.int64]) -> tuple[Tensor, Tensor] | None:
        if self._negatives is None:
            return None
        vectors, there = self._negatives(places)
        return torch.from_numpy(vectors), torch.from_numpy(there)

    def _moved(self) -> dict[str, Tensor]:
        """The weights so far, moved back towards the start as far as the recipe says.

        What is learnt holds where it was learnt, and the start anywhere: between the two
        lies what holds elsewhere as well (Wortsman et al. 2022, arXiv 2109.01903).
        """
        weights = {key: value.clone() for key, value in self._model.state_dict().items()}
        if self._recipe.moved == 1:
            return weights
        share = self._recipe.moved
        return {key: self._start[key].lerp(value, share) for key, value in weights.items()}

    def _hit_at_5(self, weights: dict[str, Tensor]) -> float:
        """Of `weights`; the model's own are left as they are."""
        own = {key: value.clone() for key, value in self._model.state_dict().items()}
        self._model.load_state_dict(weights)
        self._model.eval()
        with torch.inference_mode():
            dense = self._lessons.held_out(self._held_out)
        self._model.load_state_dict(own)
        targets = self._pool.targets[self._pool.targets <= len(dense)]
        ranks = retrieval_metrics.ranks(dense[targets - 1], self._held_out[targets])
        return retrieval_metrics.hit_at(ranks, 5)

    def place(self) -> TrainingState:
        """All that the rest of the run depends on."""
        shuffling: dict[str, Any] = dict(self._rng.bit_generator.state)
        return TrainingState(
            history=[asdict(epoch) for epoch in self._history],
            shuffling=shuffling,
            dropping=torch.get_rng_state(),
            steps=self._steps,
            weights=self._model.state_dict(),
            best=self._kept,
            optimiser=self._optimiser.state_dict(),
        )

    def resume(self, place: TrainingState) -> None:
        """Go on from `place`, which a run of the same recipe on the same data left."""
        self._history = [EpochMetrics(**epoch) for epoch in place.history]
        self._rng.bit_generator.state = place.shuffling
        torch.set_rng_state(place.dropping)
        self._steps = place.steps
        self._model.load_state_dict(place.weights)
        self._kept = place.best
        self._optimiser.load_state_dict(place.optimiser)
        self._progress(self._steps, self._total, f"going on after epoch {len(self._history)}")

    def result(self) -> TrainingResult:
        self._model.load_state_dict(self._kept)
        return TrainingResult(self._model.eval(), self._best, tuple(self._history))


def _set_dropout(model: NextVectorModel, dropout: float) -> None:
    """A checkpoint holds weights alone; how much is dropped is the recipe's."""
    if isinstance(model, MemoryAugmentedGRU):
        model.gru.dropout = dropout
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout


def _warm_up_then_cosine(done: int, warm_up: int, total: int) -> float:
    if done < warm_up:
        return (done + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / max(1, total - warm_up))))
