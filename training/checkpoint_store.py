"""The state of an unfinished training run, on disk after every epoch.

A resumed run ends in the same model as one that was never interrupted, because the state
holds everything that the rest of the run depends on.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class ResumeError(Exception):
    """The run cannot be resumed; the message says what to do."""


@dataclass(frozen=True)
class TrainingState:
    """A run at the end of an epoch.

    `history` (the metrics of each epoch) and `shuffle_rng` (NumPy's generator) are plain JSON
    values; `torch_rng` is PyTorch's generator; `best_weights` are those that the run would keep.
    """

    history: list[dict[str, Any]]
    steps: int
    weights: dict[str, Tensor]
    best_weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    shuffle_rng: dict[str, Any]
    torch_rng: Tensor


@dataclass(frozen=True)
class CheckpointStore:
    """Keeps the state of one run in the file `path`.

    `run` identifies the run (recipe, dataset, hold-out, start) as text.
    """

    path: Path
    run: str

    def load(self) -> TrainingState | None:
        """The saved state; None if there is none.

        Raises `ResumeError` if the file is damaged or belongs to another run.
        """
        if not self.path.exists():
            return None
        run, state = read(self.path)
        if run != self.run:
            raise ResumeError(
                f"{self.path}: belongs to another run (another recipe, dataset, hold-out or "
                "start); pass --restart to start over, or choose another --out"
            )
        return state

    def save(self, state: TrainingState) -> None:
        """Replace the saved state atomically."""
        # A .pt file cannot hold the generators' 128-bit integers; JSON text can.
        content = {
            **vars(state),
            "history": json.dumps(state.history),
            "shuffle_rng": json.dumps(state.shuffle_rng),
            "run": self.run,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def remove(self) -> None:
        """Delete the saved state, if there is one."""
        self.path.unlink(missing_ok=True)


def read(path: Path) -> tuple[str, TrainingState]:
    """The run that a file belongs to, and its state. Raises `ResumeError`."""
    try:
        content = torch.load(path, weights_only=True)
        run = str(content.pop("run"))
        content["history"] = json.loads(content["history"])
        content["shuffle_rng"] = json.loads(content["shuffle_rng"])
        return run, TrainingState(**content)
    # A damaged archive raises whatever its parser meets first.
    except Exception as error:
        raise ResumeError(
            f"{path}: cannot be read ({type(error).__name__}); remove it to start over"
        ) from error
