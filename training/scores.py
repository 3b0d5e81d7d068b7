"""What predictions are worth on a pool: figures, and differences between two of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora import retrieval_metrics
from corpora.retrieval_metrics import Vectors
from training.bootstrap import DocumentBootstrap, Figure, Floats

METRICS = ("hit_at_1", "hit_at_5", "hit_at_10", "mrr", "cosine")


@dataclass(frozen=True)
class PositionScores:
    """Per position: its target's rank in the pool (1 is best), and the cosine with it."""

    rank: NDArray[np.int64]
    cosine: NDArray[np.float32]

    def values(self) -> Floats:
        """`[positions, METRICS]`: hits are 0 or 1, then 1 / rank and the cosine."""
        hits = [self.rank <= k for k in (1, 5, 10)]
        return np.stack([*hits, 1 / self.rank, self.cosine], axis=1).astype(np.float64)


@dataclass(frozen=True)
class Difference:
    """`a` less `b` on the same positions, with its paired 95 % interval."""

    a: str
    b: str
    metric: str
    figure: Figure


def score_predictions(predicted: Vectors, targets: Vectors) -> PositionScores:
    """Score predictions `[n, dim]` of `targets`, which are the candidates too."""
    cosine = (predicted * targets).sum(axis=1)
    return PositionScores(retrieval_metrics.ranks(predicted, targets), cosine)


def figures(measured: PositionScores, bootstrap: DocumentBootstrap) -> dict[str, Figure]:
    """Metric -> mean and interval."""
    return dict(zip(METRICS, bootstrap.figures(measured.values()), strict=True))


def differences(
    a: tuple[str, PositionScores], b: tuple[str, PositionScores], bootstrap: DocumentBootstrap
) -> list[Difference]:
    """Of every metric, `a` less `b`; an interval without 0 says that they differ."""
    paired = bootstrap.figures(a[1].values() - b[1].values())
    return [
        Difference(a[0], b[0], metric, figure)
        for metric, figure in zip(METRICS, paired, strict=True)
    ]
