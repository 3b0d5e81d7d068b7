"""The state of an unfinished staged run, on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.checkpoint_store import ResumeError

Weights = dict[str, Tensor]


@dataclass
class StagedState:
    """Everything that the rest of a run depends on.

    `seconds` and `vectors` are those of training in the current `stage`; `total_seconds` and
    `total_vectors` those of all. `batch_limit` is the largest batch that fits into the device's
    memory, 0 for unknown. `history` holds the validations as plain values.
    """

    weights: Weights
    averaged: Weights
    optimizer: dict[str, Any]
    sampler: Tensor
    torch_rng: Tensor
    cuda_rng: Tensor
    stage: int
    steps: int
    seconds: float
    vectors: int
    total_seconds: float
    total_vectors: int
    batch_limit: int
    validated: int
    history: list[dict[str, Any]]
    best: Weights
    best_score: float
    best_scale: float


@dataclass(frozen=True)
class StagedStore:
    """Keeps the state of one run in the file `path`; `run` identifies the run as text."""

    path: Path
    run: str

    def load(self) -> StagedState | None:
        """The saved state; None if there is none.

        Raises `ResumeError` if the file is damaged or belongs to another run.
        """
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            run, state = content["run"], StagedState(**content["state"])
        # A damaged archive raises whatever its parser meets first.
        except Exception as error:
            raise ResumeError(
                f"{self.path}: cannot be read ({type(error).__name__}); remove it to start over"
            ) from error
        if run != self.run:
            raise ResumeError(
                f"{self.path}: belongs to another run (another recipe, dataset, hold-out or "
                "start); pass --restart to start over, or choose another --out"
            )
        return state

    def save(self, state: StagedState) -> None:
        """Replace the saved state atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("wb") as file:
            torch.save({"run": self.run, "state": vars(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def remove(self) -> None:
        """Delete the saved state, if there is one."""
        self.path.unlink(missing_ok=True)
