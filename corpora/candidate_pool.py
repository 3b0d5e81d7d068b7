"""Candidate pools: the positions whose vectors a prediction is ranked among."""

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

    A score is only meaningful with its pool: a smaller pool raises Hit@5, and neighbouring
    vectors are harder to tell apart than distant ones.
    """

    targets: NDArray[np.int64]
    kind: PoolKind
    seed: int

    @property
    def size(self) -> int:
        return len(self.targets)

    @property
    def chance_hit_at_5(self) -> float:
        """The expected Hit@5 of random predictions."""
        return min(1.0, 5 / self.size)

    def __str__(self) -> str:
        return f"{self.size} {self.kind} positions (seed {self.seed})"

    def digest(self, dataset_sha256: str, rows: NDArray[np.int64]) -> str:
        """A digest of the targets and their contexts; equal only for equal pools.

        `rows` are the positions of the held-out stream's vectors in the dataset.
        """
        state = hashlib.sha256(f"{dataset_sha256} {self.kind} {len(rows)} {self.size}".encode())
        state.update(np.asarray(rows, "<i8").tobytes())
        state.update(np.asarray(self.targets, "<i8").tobytes())
        return state.hexdigest()


def draw_pool(kind: PoolKind, total: int, size: int, seed: int, first: int = 1) -> CandidatePool:
    """Draw `size` distinct positions from `first .. total - 1`, in ascending order.

    Either `random` ones or one `contiguous` run. Raises `ValueError` if there are too few.
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
    """Draw a pool of random positions; see `draw_pool`."""
    return draw_pool("random", total, size, seed, first)
