"""Baseline rules without trained weights, which a model has to beat.

A rule predicts position t of a stream from all vectors before it. Predictions are float32 unit
vectors `[n, dim]`, one row for each target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora import candidate_pool, retrieval_metrics
from corpora.retrieval_metrics import Vectors

REACH = 20
"""The number of vectors that the decayed mean reads."""

DECAYS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class BaselineRule:
    """`normalise(sum of weights[i] * (vector at t - 1 - i, minus the centre))`."""

    name: str
    weights: tuple[float, ...]
    centre: Vectors | float = 0.0

    def predict(self, stream: Vectors, targets: NDArray[np.int64]) -> Vectors:
        """Predict `targets`, positions ≥ 1 in `stream` `[n, dim]`."""
        total = np.zeros((len(targets), stream.shape[1]), np.float32)
        for back, weight in enumerate(self.weights, start=1):
            known = targets >= back
            total[known] += weight * (stream[targets[known] - back] - self.centre)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        unit: Vectors = (total / np.maximum(length, 1e-12)).astype(np.float32)
        return unit


@dataclass(frozen=True)
class RunningCentreRule:
    """A decayed mean, like `BaselineRule`, around the mean of all vectors before the target.

    The rule needs no training text, so it holds on texts of any kind.
    """

    name: str
    weights: tuple[float, ...]

    def predict(self, stream: Vectors, targets: NDArray[np.int64]) -> Vectors:
        """Predict `targets`, positions ≥ 1 in `stream` `[n, dim]`."""
        total = np.zeros((len(targets), stream.shape[1]), np.float32)
        centre = _means_before(stream, targets)
        for back, weight in enumerate(self.weights, start=1):
            known = targets >= back
            total[known] += weight * (stream[targets[known] - back] - centre[known])
        # The second vector of a text is also its centre so far: repeat it.
        total[targets == 1] = stream[0]
        length = np.linalg.norm(total, axis=1, keepdims=True)
        unit: Vectors = (total / np.maximum(length, 1e-12)).astype(np.float32)
        return unit


Rule = BaselineRule | RunningCentreRule


def _means_before(stream: Vectors, targets: NDArray[np.int64]) -> Vectors:
    """The mean of `stream[:target]` for each target, without a running sum of the whole stream."""
    found = np.empty((len(targets), stream.shape[1]), np.float32)
    total, at = np.zeros(stream.shape[1], np.float64), 0
    for row in np.argsort(targets, kind="stable"):
        target = int(targets[row])
        total += stream[at:target].sum(axis=0, dtype=np.float64)
        at = target
        found[row] = total / target
    return found


def all_rules(train: Vectors, seed: int = 0) -> tuple[Rule, ...]:
    """Repeat-last, the means of the last 2 and 5, and decayed means around two centres.

    The decay and the fixed centre come from the training stream `[n, dim]` only; the other centre
    is the text's own, as far as it has been read.
    """
    decayed = best_decay(train, seed)
    return (
        BaselineRule("repeat the last vector", (1.0,)),
        BaselineRule("mean of the last 2", (1.0,) * 2),
        BaselineRule("mean of the last 5", (1.0,) * 5),
        decayed,
        RunningCentreRule(
            decayed.name.replace("centred mean", "mean around the running centre"),
            decayed.weights,
        ),
    )


def decayed_mean(decay: float, centre: Vectors) -> BaselineRule:
    """A mean in which each vector weighs `decay` times its successor, after subtracting `centre`.

    The prediction stays centred: adding the centre back would favour the most common candidates.
    """
    return BaselineRule(
        f"decayed centred mean of {REACH} (decay {decay})",
        tuple(decay**back for back in range(REACH)),
        centre,
    )


def best_decay(train: Vectors, seed: int = 0, pool_size: int = 1000) -> BaselineRule:
    """The decayed mean with the best Hit@5 on a random pool of training positions."""
    centre = train.mean(axis=0)
    pool = candidate_pool.random_pool(len(train), min(pool_size, len(train) - 1), seed)

    def hit_at_5(rule: BaselineRule) -> float:
        ranks = retrieval_metrics.ranks(rule.predict(train, pool.targets), train[pool.targets])
        return retrieval_metrics.hit_at(ranks, 5)

    return max((decayed_mean(decay, centre) for decay in DECAYS), key=hit_at_5)
