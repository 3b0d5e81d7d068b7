"""What every point of a sweep shares: the held-out stream, the positions and the pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corpora import retrieval_metrics
from corpora.candidate_pool import CandidatePool
from corpora.retrieval_metrics import Vectors
from training.baselines import BaselineRule
from training.bootstrap import DocumentBootstrap, Floats
from training.evaluated_model import EvaluatedModel
from training.held_out import HeldOutSet
from training.prediction import Positions
from training.sweeps.sweep import SweepPoint


@dataclass(frozen=True)
class SweepSetting:
    """Each position of `targets` is scored against the candidates of `pool`."""

    held_out: HeldOutSet
    pool: CandidatePool
    targets: Positions
    models: tuple[EvaluatedModel, ...]
    rules: tuple[BaselineRule, ...]

    @property
    def stream(self) -> Vectors:
        return self.held_out.corpus.vectors

    @property
    def note(self) -> str:
        documents = len(np.unique(self.held_out.corpus.document_id[self.targets]))
        return (
            f"Held out: {self.held_out.name} ({self.held_out.description}). "
            f"{len(self.targets)} positions in {documents} documents, the same at every point."
        )

    def bootstrap(self) -> DocumentBootstrap:
        return DocumentBootstrap(self.held_out.corpus.document_id[self.targets])

    def hits(self, predicted: Vectors, pool: Positions | None = None) -> Floats:
        """1 if the target is among the nearest 5 of the pool, else 0: `[targets]`."""
        candidates = self.pool.targets if pool is None else pool
        ranks = retrieval_metrics.ranks_among(predicted, self.stream, self.targets, candidates)
        return (ranks <= 5).astype(np.float64)


def choose_setting(
    held_out: HeldOutSet,
    pool: CandidatePool,
    models: tuple[EvaluatedModel, ...],
    rules: tuple[BaselineRule, ...],
    positions: int,
    first: int,
) -> SweepSetting:
    """A setting with at most `positions` of the pool's positions, all ≥ `first`.

    Raises `ValueError` if there is none.
    """
    possible = pool.targets[pool.targets >= first]
    if not len(possible):
        raise ValueError(
            f"held-out set {held_out.name} has {len(held_out.corpus.vectors)} vectors: too few "
            f"for positions with {first} vectors before them; evaluate on a longer corpus"
        )
    chosen = np.random.default_rng(pool.seed).permutation(possible)[:positions]
    return SweepSetting(held_out, pool, np.sort(chosen), models, rules)


def sweep_point(
    x: float, label: str, hits: Floats, bootstrap: DocumentBootstrap, reference: Floats | None
) -> SweepPoint:
    """A point, with its paired difference from the hits of `reference` if there is one."""
    gap = None if reference is None else bootstrap.estimate(hits - reference)
    return SweepPoint(x, label, bootstrap.estimate(hits), len(hits), gap)
