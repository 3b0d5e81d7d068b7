"""A run's place, on disk after every epoch: a run that was killed goes on from there.

What is kept is all that the rest of the run depends on, so that it ends in the
same model as one that was never stopped.
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
    """The place cannot be gone on from; says what to do."""


@dataclass(frozen=True)
class TrainingState:
    """The end of an epoch. `history` and `shuffling` are JSON's plain values."""

    history: list[dict[str, Any]]
    shuffling: dict[str, Any]
    dropping: Tensor
    steps: int
    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Any]


@dataclass(frozen=True)
class CheckpointStore:
    """Keeps the place of one run in a file.

    `run` says what run it is, as text: a place of another recipe, dataset or
    start is not this one's.
    """

    path: Path
    run: str

    def load(self) -> TrainingState | None:
        """The place that was kept, None where there is none.

        Raises `ResumeError` when it is another run's or cannot be read.
        """
        if not self.path.exists():
            return None
        run, place = read(self.path)
        if run != self.run:
            raise ResumeError(
                f"{self.path}: is the place of another run (another recipe, dataset, hold-out or "
                "start): give --restart to begin anew, or another --out"
            )
        return place

    def save(self, place: TrainingState) -> None:
        """Write `place` whole, or leave the one before it."""
        # 128-bit integers are no type of a plain .pt file; in JSON they are text.
        kept = {
            **vars(place),
            "history": json.dumps(place.history),
            "shuffling": json.dumps(place.shuffling),
            "run": self.run,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("wb") as file:
            torch.save(kept, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def remove(self) -> None:
        """Forget the place: the run is over."""
        self.path.unlink(missing_ok=True)


def read(path: Path) -> tuple[str, TrainingState]:
    """What run a file is of, as text, and its place. Raises `ResumeError`."""
    try:
        kept = torch.load(path, weights_only=True)
        run = str(kept.pop("run"))
        kept["history"] = json.loads(kept["history"])
        kept["shuffling"] = json.loads(kept["shuffling"])
        return run, TrainingState(**kept)
    # A damaged archive raises whatever the reader trips over first.
    except Exception as error:
        raise ResumeError(
            f"{path}: cannot be read ({type(error).__name__}): remove it to begin anew"
        ) from error
