"""The dense training run: a target at every position of every sequence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model_export.architecture import DIM, HIDDEN, LAYERS, SLOTS, MemoryAugmentedGRU
from training import dataset, metrics
from training.corpus import Split
from training.loss import next_vector_loss
from training.recipe import Recipe

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, text)` after every step of the optimiser."""


class Negatives(Protocol):
    """Hard negatives of training vectors, by their places in the training stream `[n]`."""

    def __call__(self, targets: NDArray[np.int64]) -> tuple[dataset.Vectors, NDArray[np.bool_]]:
        """Vectors `[n, k, dim]`, and which of them there are `[n, k]`."""
        ...


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; `hit_at_5` is on the held-out pool, in 0..1."""

    epoch: int
    loss: float
    cosine: float
    hit_at_5: float
    seconds: float
    vectors_per_second: float


@dataclass(frozen=True)
class Result:
    """The best epoch's weights and every epoch's figures."""

    model: MemoryAugmentedGRU
    best: Epoch
    history: tuple[Epoch, ...]

    def as_json(self, recipe: Recipe) -> dict[str, object]:
        return {
            "recipe": asdict(recipe),
            "best_epoch": self.best.epoch,
            "history": [asdict(epoch) for epoch in self.history],
        }


def initialise(vectors: dataset.Vectors, recipe: Recipe) -> MemoryAugmentedGRU:
    """An untrained model that starts as *repeat the last vector*.

    Centring goes into the LayerNorm's shift, the memory's slots are training
    vectors, the update gates' biases spread from 0 to `gate_bias` so that some
    units begin with a long memory, and the output starts at zero.
    """
    torch.manual_seed(recipe.seed)
    model = MemoryAugmentedGRU()
    rng = np.random.default_rng(recipe.seed)
    chosen = rng.choice(len(vectors), SLOTS, replace=len(vectors) < SLOTS)
    with torch.no_grad():
        sample = torch.from_numpy(vectors[chosen])
        model.memory.memory.copy_(sample)
        model.input_norm.bias.copy_(-F.layer_norm(sample, [DIM]).mean(dim=0))
        for layer in range(LAYERS):
            # PyTorch's gates are stacked reset, update, new; h' = (1-z) n + z h.
            bias = getattr(model.gru, f"bias_hh_l{layer}")
            bias[HIDDEN : 2 * HIDDEN] = torch.linspace(0, recipe.gate_bias, HIDDEN)
        last = model.output_proj[3]
        assert isinstance(last, nn.Linear)
        last.weight.zero_()
        last.bias.zero_()
    return model


def train(
    split: Split,
    recipe: Recipe,
    progress: Progress,
    start: MemoryAugmentedGRU | None = None,
    negatives: Negatives | None = None,
) -> Result:
    """Train by `recipe`; stop when Hit@5 has not improved for `patience` epochs.

    From `start`'s weights where it is given, else from `initialise`'s.

    The same seed on the same machine gives the same model.
    """
    vectors = split.train.vectors
    steps = dataset.batches_in_epoch(len(vectors), recipe.window, recipe.batch)
    total = steps * recipe.epochs
    model = start or initialise(vectors, recipe)
    torch.manual_seed(recipe.seed)  # for dropout, wherever the weights came from
    _set_dropout(model, recipe.dropout)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda done: _warm_up_then_cosine(done, steps, total)
    )
    held_out = len(split.held_out.vectors)
    pool = metrics.random_pool(held_out, size=min(1000, held_out - 1), seed=0)
    rng = np.random.default_rng(recipe.seed)
    history: list[Epoch] = []
    best, weights = None, model.state_dict()
    for number in range(1, recipe.epochs + 1):
        began = time.perf_counter()
        model.train()
        losses: list[tuple[float, float]] = []
        for places in dataset.epoch(len(vectors), recipe.window, recipe.batch, rng):
            hard = None if negatives is None else negatives(places[1:].ravel())
            cosine, loss = _step(model, optimiser, recipe, vectors[places], hard)
            schedule.step()
            losses.append((loss, cosine))
            done = min((number - 1) * steps + len(losses), total)
            progress(done, total, f"epoch {number} loss {loss:.4f}")
        seconds = time.perf_counter() - began
        mean = np.mean(losses, axis=0)
        hit = held_out_hit_at_5(model, split.held_out.vectors, recipe.window, pool)
        rate = len(losses) * recipe.window * recipe.batch / seconds
        history.append(Epoch(number, float(mean[0]), float(1 - mean[1]), hit, seconds, rate))
        if best is None or hit > best.hit_at_5:
            best = history[-1]
            weights = {key: value.clone() for key, value in model.state_dict().items()}
        progress(done, total, f"epoch {number} Hit@5 {hit:.4f} (best {best.hit_at_5:.4f})")
        if number - best.epoch >= recipe.patience:
            break
    assert best is not None
    model.load_state_dict(weights)
    return Result(model.eval(), best, tuple(history))


def held_out_hit_at_5(
    model: MemoryAugmentedGRU, vectors: dataset.Vectors, window: int, pool: metrics.Pool
) -> float:
    """Hit@5 in one dense pass: rows of `window`, each from a cold state.

    Cheap enough for every epoch. The contexts are shorter than the window on
    average; the evaluation report recomputes each position's own.
    """
    model.eval()
    rows = dataset.sequences(vectors, min(window, len(vectors) - 1), 0)
    inputs = torch.from_numpy(np.ascontiguousarray(rows[:, :-1].transpose(1, 0, 2)))
    with torch.inference_mode():
        steps, _ = model(inputs)
        dense = F.normalize(inputs + steps, dim=-1).transpose(0, 1).reshape(-1, DIM).numpy()
    targets = pool.targets[pool.targets <= len(dense)]
    ranks = metrics.ranks(dense[targets - 1], vectors[targets])
    return metrics.hit_at(ranks, 5)


def _set_dropout(model: MemoryAugmentedGRU, dropout: float) -> None:
    """A checkpoint holds weights alone; how much is dropped is the recipe's."""
    model.gru.dropout = dropout
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout


def _step(
    model: MemoryAugmentedGRU,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    rows: dataset.Vectors,
    hard: tuple[dataset.Vectors, NDArray[np.bool_]] | None,
) -> tuple[float, float]:
    """One step on `rows` `[window + 1, batch, dim]`."""
    vectors = torch.from_numpy(rows)
    inputs, targets = vectors[:-1], vectors[1:].flatten(0, 1)
    steps, _ = model(inputs)
    predicted: Tensor = F.normalize(inputs + steps, dim=-1).flatten(0, 1)
    own = None if hard is None else (torch.from_numpy(hard[0]), torch.from_numpy(hard[1]))
    cosine, loss = next_vector_loss(predicted, targets, recipe.alpha, recipe.temperature, own)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    optimiser.step()
    return cosine.item(), loss.item()


def _warm_up_then_cosine(done: int, warm_up: int, total: int) -> float:
    if done < warm_up:
        return (done + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / max(1, total - warm_up))))
