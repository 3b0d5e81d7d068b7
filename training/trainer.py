"""The training loop: epochs, early stopping, and resuming an interrupted run."""

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
from training.batching import TrainingBatch, batch_source
from training.checkpoint_store import CheckpointStore, TrainingState
from training.initialization import initialize
from training.loss import next_vector_loss
from training.recipe import Recipe
from training.schedule import learning_rate_factor
from training.sequences import Vectors

POOL_SIZE = 1000
"""Held-out candidates of the Hit@5 that is measured after every epoch."""

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, text)` after every optimizer step."""

Weights = dict[str, Tensor]


class NegativeSampler(Protocol):
    """Hard negatives of training vectors."""

    def __call__(self, targets: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.bool_]]:
        """For positions `[n]` in the stream: vectors `[n, k, dim]`, and which exist `[n, k]`."""
        ...


@dataclass(frozen=True)
class EpochMetrics:
    """The metrics of one epoch; `hit_at_5` on the held-out pool, 0..1."""

    epoch: int
    loss: float
    cosine: float
    hit_at_5: float
    seconds: float
    vectors_per_second: float

    @property
    def vectors(self) -> int:
        """Vectors that the model read, forward and backward."""
        return round(self.vectors_per_second * self.seconds)


@dataclass(frozen=True)
class TrainingResult:
    """The model with the weights that were kept, their epoch, and the metrics of every epoch."""

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
    store: CheckpointStore | None = None,
) -> TrainingResult:
    """Train by `recipe`, from `start`'s weights or newly initialized ones.

    Keeps the weights of the epoch with the best Hit@5 and stops after `patience` epochs without
    a better one; with a `patience` of 0 runs all epochs and keeps the last.

    On one machine, the same seed gives the same model. `store` saves the state after every
    epoch, and a run with a saved state resumes from it, to the same model. Raises `ResumeError`;
    raises `ValueError` if the vectors are too few or the loss is not finite.
    """
    state = store.load() if store else None
    model = start or initialize(split.train.vectors, recipe)
    trainer = Trainer(split, recipe, model, progress, negatives)
    if state is not None:
        trainer.load_state(state)
    while not trainer.finished:
        trainer.run_epoch()
        if store is not None:
            store.save(trainer.state())
    return trainer.result()


class Trainer:
    """Trains a model epoch by epoch. Its state is complete between two epochs."""

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
        _check_length("train on", split.train.vectors, recipe.window)
        _check_length("hold out", self._held_out, recipe.window)
        held_out = len(self._held_out)
        self._pool = candidate_pool.random_pool(held_out, min(POOL_SIZE, held_out - 1), seed=0)
        self._batches = batch_source(model, split.train.vectors, recipe)
        self._steps_per_epoch = math.ceil(self._batches.batches_per_epoch / recipe.accumulate)
        self._total_steps = self._steps_per_epoch * recipe.epochs
        set_dropout(model, recipe.dropout)
        self._initial_weights = _copy_of_weights(model)
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        torch.manual_seed(recipe.seed)  # for dropout, whether the weights are new or loaded
        self._rng = np.random.default_rng(recipe.seed)
        self._steps = 0
        self._history: list[EpochMetrics] = []
        self._best_weights: Weights = {}

    @property
    def finished(self) -> bool:
        """All epochs have run, or `patience` has run out; never before the first epoch."""
        done, patience = len(self._history), self._recipe.patience
        if done == 0:
            return False
        return done >= self._recipe.epochs or 0 < patience <= done - self._best.epoch

    def run_epoch(self) -> None:
        """Train one epoch, measure Hit@5 and keep the weights if they are the best so far."""
        number = len(self._history) + 1
        began = time.perf_counter()
        losses = self._train_epoch(number)
        seconds = time.perf_counter() - began
        cosine_loss, loss = np.mean(losses, axis=0)
        if not np.isfinite(loss):
            raise ValueError(
                f"the loss of epoch {number} is {loss}: the recipe's learning_rate may be too high"
            )
        weights = self._interpolated_weights()
        metrics = EpochMetrics(
            epoch=number,
            loss=float(loss),
            cosine=float(1 - cosine_loss),
            hit_at_5=self._hit_at_5(weights),
            seconds=seconds,
            vectors_per_second=len(losses) * self._batches.vectors_per_batch / seconds,
        )
        self._history.append(metrics)
        if self._best is metrics:
            self._best_weights = weights
        self._report(
            f"epoch {number} Hit@5 {metrics.hit_at_5:.4f} (kept: epoch {self._best.epoch}), "
            f"{metrics.vectors_per_second:,.0f} vectors per second, {seconds:.0f} s"
        )

    def state(self) -> TrainingState:
        """Everything that the rest of the run depends on."""
        shuffle_rng: dict[str, Any] = dict(self._rng.bit_generator.state)
        return TrainingState(
            history=[asdict(epoch) for epoch in self._history],
            steps=self._steps,
            weights=self._model.state_dict(),
            best_weights=self._best_weights,
            optimizer=self._optimizer.state_dict(),
            shuffle_rng=shuffle_rng,
            torch_rng=torch.get_rng_state(),
        )

    def load_state(self, state: TrainingState) -> None:
        """Continue from `state`, which a run of the same recipe on the same data saved."""
        self._history = [EpochMetrics(**epoch) for epoch in state.history]
        self._steps = state.steps
        self._model.load_state_dict(state.weights)
        self._best_weights = state.best_weights
        self._optimizer.load_state_dict(state.optimizer)
        self._rng.bit_generator.state = state.shuffle_rng
        torch.set_rng_state(state.torch_rng)
        self._report(f"resuming after epoch {len(self._history)}")

    def result(self) -> TrainingResult:
        self._model.load_state_dict(self._best_weights)
        return TrainingResult(self._model.eval(), self._best, tuple(self._history))

    @property
    def _best(self) -> EpochMetrics:
        """The epoch whose weights are kept."""
        if self._recipe.patience == 0:
            return self._history[-1]
        return max(self._history, key=lambda epoch: epoch.hit_at_5)  # the first of equals

    def _train_epoch(self, number: int) -> list[tuple[float, float]]:
        """The cosine loss and the total loss of every batch."""
        self._model.train()
        losses: list[tuple[float, float]] = []
        batches = self._batches.epoch(self._rng)
        bf16 = self._recipe.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            while step_losses := self._step(batches):
                losses += step_losses
                self._report(f"epoch {number} loss {step_losses[-1][1]:.4f}")
        return losses

    def _step(self, batches: Iterator[TrainingBatch]) -> list[tuple[float, float]]:
        """One optimizer step on the next `accumulate` batches; no losses if none are left."""
        self._optimizer.zero_grad(set_to_none=True)
        losses = [self._backward(batch) for batch in islice(batches, self._recipe.accumulate)]
        if not losses:
            return []
        for parameter in self._model.parameters():
            if parameter.grad is not None and len(losses) > 1:
                parameter.grad /= len(losses)
        nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.gradient_clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * learning_rate_factor(
                self._steps, self._steps_per_epoch, self._total_steps
            )
        self._optimizer.step()
        self._steps += 1
        return losses

    def _backward(self, batch: TrainingBatch) -> tuple[float, float]:
        """Add the batch's gradients; returns the cosine loss and the total loss."""
        recipe = self._recipe
        hard_negatives = None
        if self._negatives is not None:
            vectors, present = self._negatives(batch.positions)
            hard_negatives = (torch.from_numpy(vectors), torch.from_numpy(present))
        cosine_loss, loss = next_vector_loss(
            batch.predicted, batch.target, recipe.alpha, recipe.temperature, hard_negatives
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return cosine_loss.item(), loss.item()

    def _interpolated_weights(self) -> Weights:
        """The weights at `recipe.interpolation` between the initial and the current ones.

        Interpolated weights often generalize better than either end (Wortsman et al. 2022,
        arXiv 2109.01903).
        """
        weights, share = _copy_of_weights(self._model), self._recipe.interpolation
        if share == 1:
            return weights
        return {
            key: self._initial_weights[key].lerp(value, share) for key, value in weights.items()
        }

    def _hit_at_5(self, weights: Weights) -> float:
        """Hit@5 of `weights` on the held-out pool; the model keeps its own weights."""
        own = _copy_of_weights(self._model)
        self._model.load_state_dict(weights)
        self._model.eval()
        with torch.inference_mode():
            predicted = self._batches.predict_stream(self._held_out)
        self._model.load_state_dict(own)
        targets = self._pool.targets[self._pool.targets <= len(predicted)]
        ranks = retrieval_metrics.ranks(predicted[targets - 1], self._held_out[targets])
        return retrieval_metrics.hit_at(ranks, 5)

    def _report(self, text: str) -> None:
        self._progress(min(self._steps, self._total_steps), self._total_steps, text)


def _check_length(purpose: str, vectors: Vectors, window: int) -> None:
    if len(vectors) <= window:
        raise ValueError(
            f"{len(vectors)} vectors to {purpose} are too few for a window of {window}"
        )


def _copy_of_weights(model: NextVectorModel) -> Weights:
    return {key: value.clone() for key, value in model.state_dict().items()}


def set_dropout(model: NextVectorModel, dropout: float) -> None:
    """Set the recipe's dropout; a checkpoint stores weights only."""
    if isinstance(model, MemoryAugmentedGRU):
        model.gru.dropout = dropout
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
