"""Scores of predictions on a pool, and paired differences between two sets of scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora import retrieval_metrics
from corpora.retrieval_metrics import Vectors
from service.evaluation_report import METRICS, Estimate, Metric, PairedDifference
from training.bootstrap import DocumentBootstrap, Floats


@dataclass(frozen=True)
class PositionScores:
    """For each position, the target's rank in the pool (1 is best) and the target's cosine."""

    rank: NDArray[np.int64]
    cosine: NDArray[np.float32]

    def values(self) -> Floats:
        """`[positions, METRICS]`: hits as 0 or 1, then 1 / rank, then the cosine."""
        hits = [self.rank <= k for k in (1, 5, 10)]
        return np.stack([*hits, 1 / self.rank, self.cosine], axis=1).astype(np.float64)


def score_predictions(predicted: Vectors, targets: Vectors) -> PositionScores:
    """Score predictions `[n, dim]` of `targets` `[n, dim]`, which are also the candidates."""
    cosine = (predicted * targets).sum(axis=1)
    return PositionScores(retrieval_metrics.ranks(predicted, targets), cosine)


def estimates(scores: PositionScores, bootstrap: DocumentBootstrap) -> dict[Metric, Estimate]:
    """The mean and interval of each metric."""
    return dict(zip(METRICS, bootstrap.estimates(scores.values()), strict=True))


def differences(
    a: tuple[str, PositionScores], b: tuple[str, PositionScores], bootstrap: DocumentBootstrap
) -> list[PairedDifference]:
    """`a` minus `b` for each metric. An interval without 0 shows a real difference."""
    (a_name, a_scores), (b_name, b_scores) = a, b
    paired = bootstrap.estimates(a_scores.values() - b_scores.values())
    return [
        PairedDifference(
            a=a_name,
            b=b_name,
            metric=metric,
            difference=estimate.value,
            low=estimate.low,
            high=estimate.high,
        )
        for metric, estimate in zip(METRICS, paired, strict=True)
    ]
