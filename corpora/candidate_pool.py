"""Candidate pools: the positions that a prediction is ranked among."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PoolKind = Literal["random", "contiguous"]


@dataclass(frozen=True)
class CandidatePool:
    """Positions whose vectors are both the targets and the candidates.

    A score means nothing without its pool: halving it alone lifts Hit@5, and
    neighbours are harder to tell apart than vectors from anywhere.
    """

    targets: NDArray[np.int64]
    kind: PoolKind
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


def draw_pool(kind: PoolKind, total: int, size: int, seed: int, first: int = 1) -> CandidatePool:
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
        return CandidatePool(
            np.sort(first + rng.choice(total - first, size, replace=False)), kind, seed
        )
    start = first + int(rng.integers(total - first - size + 1))
    return CandidatePool(start + np.arange(size), kind, seed)


def random_pool(total: int, size: int, seed: int, first: int = 1) -> CandidatePool:
    """As `draw_pool`, from anywhere."""
    return draw_pool("random", total, size, seed, first)
