"""Retrieval figures: a pool of candidates, ranks in it, Hit@K."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Kind = Literal["random", "contiguous"]


@dataclass(frozen=True)
class Pool:
    """Positions whose vectors are both the targets and the candidates.

    A score means nothing without its pool: halving it alone lifts Hit@5, and
    neighbours are harder to tell apart than vectors from anywhere.
    """

    targets: NDArray[np.int64]
    kind: Kind
    seed: int

    @property
    def size(self) -> int:
        return len(self.targets)

    @property
    def chance_hit_at_5(self) -> float:
        """A random answer's."""
        return min(1.0, 5 / self.size)

    def __str__(self) -> str:
        return f"{self.size} {self.kind} positions (seed {self.seed})"

    def digest(self, dataset_sha256: str, rows: NDArray[np.int64]) -> str:
        """What two pools have in common only if they are the same.

        `rows` says where the held-out stream's vectors are in the dataset, so that the
        digest covers the contexts as well as the targets.
        """
        state = hashlib.sha256(f"{dataset_sha256} {self.kind} {len(rows)} {self.size}".encode())
        state.update(np.asarray(rows, "<i8").tobytes())
        state.update(np.asarray(self.targets, "<i8").tobytes())
        return state.hexdigest()


def draw_pool(kind: Kind, total: int, size: int, seed: int, first: int = 1) -> Pool:
    """`size` distinct positions in `first .. total - 1`, ascending.

    `random` ones from anywhere, or a `contiguous` run of them. Raises `ValueError`.
    """
    if not 1 <= size <= total - first:
        raise ValueError(
            f"a pool of {size} cannot be drawn from {total} vectors; "
            f"choose from 1 to {max(0, total - first)}"
        )
    rng = np.random.default_rng(seed)
    if kind == "random":
        return Pool(np.sort(first + rng.choice(total - first, size, replace=False)), kind, seed)
    start = first + int(rng.integers(total - first - size + 1))
    return Pool(start + np.arange(size), kind, seed)


def random_pool(total: int, size: int, seed: int, first: int = 1) -> Pool:
    """As `draw_pool`, from anywhere."""
    return draw_pool("random", total, size, seed, first)


def ranks(predicted: Vectors, candidates: Vectors) -> NDArray[np.int64]:
    """The rank (1 is best) of candidate i for prediction i, by cosine.

    Unit vectors `[n, dim]` both. Ties count against the prediction, so that a
    constant answer cannot score, and neither can NaN.
    """
    scores = predicted @ candidates.T
    own = np.diagonal(scores)[:, None]
    ranked: NDArray[np.int64] = (~(scores < own)).sum(axis=1)
    return ranked


def ranks_among(
    predicted: Vectors,
    stream: Vectors,
    targets: NDArray[np.int64],
    candidates: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The rank of each target's vector among the candidates'; both are places in `stream`.

    As `ranks`, for pools that are not the targets themselves. A target that is no
    candidate takes the last one's place, so that every pool has the same size.
    Scores within 1e-6 tie.
    """
    own = (predicted * stream[targets]).sum(axis=1, keepdims=True)
    at_least = ~(predicted @ stream[candidates].T < own - 1e-6)
    itself = candidates == targets[:, None]
    at_least &= ~itself
    at_least[~itself.any(axis=1), -1] = False
    ranked: NDArray[np.int64] = 1 + at_least.sum(axis=1)
    return ranked


def hit_at(ranked: NDArray[np.int64], k: int) -> float:
    """The share of ranks within the first `k`, in 0..1."""
    return float((ranked <= k).mean())
