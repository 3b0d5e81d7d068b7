"""Compares training runs by their cost: Hit@5 against vectors read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from training import checkpoint_store
from training.checkpoint_store import ResumeError
from training.trainer import EpochMetrics

_COLUMNS = (
    "run",
    "epochs",
    "vectors an epoch",
    "fastest epoch, s",
    "vectors a second in it",
    "vectors read",
    "best Hit@5 %",
    "read by then",
)


class CurveError(Exception):
    """The histories are not comparable; the message says why."""


@dataclass(frozen=True)
class LearningCurve:
    """The history of one run; `data` is the dataset's digest, the hold-out and the window.

    The Hit@5 of an epoch leaves out positions that do not fill a window, so runs with different
    windows have different pools.
    """

    name: str
    data: tuple[str, str, int]
    history: tuple[EpochMetrics, ...]

    @property
    def vectors(self) -> list[int]:
        """Vectors read, forward and backward, by the end of each epoch."""
        return list(accumulate(epoch.vectors for epoch in self.history))

    @property
    def best(self) -> int:
        """The index of the epoch with the highest Hit@5, the first of equals."""
        hits = [epoch.hit_at_5 for epoch in self.history]
        return hits.index(max(hits))


def load(paths: Sequence[Path]) -> list[LearningCurve]:
    """Read the runs from `.history.json` and `.unfinished.pt` files of `nextvec train`.

    Raises `CurveError` for any other file, and for runs with different held-out documents or
    windows, because their pools differ.
    """
    curves = [_load(path) for path in paths]
    for path, curve in zip(paths, curves, strict=True):
        if curve.data != curves[0].data:
            raise CurveError(
                f"{paths[0]} holds out {_data_text(curves[0])} and {path} {_data_text(curve)}: "
                "their pools differ; train both on the same data, or compare the checkpoints"
            )
    return curves


def table(curves: Sequence[LearningCurve]) -> str:
    """A Markdown table with one row a run; the speed is that of its fastest epoch."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    for curve in curves:
        epochs, read = len(curve.history), curve.vectors
        fastest = max(curve.history, key=lambda epoch: epoch.vectors_per_second)
        lines.append(
            f"| {curve.name} | {epochs} | {read[-1] / epochs:,.0f} | {fastest.seconds:,.0f} "
            f"| {fastest.vectors_per_second:,.0f} | {read[-1]:,} "
            f"| {100 * curve.history[curve.best].hit_at_5:.1f} | {read[curve.best]:,} |"
        )
    return "\n".join(lines)


def _load(path: Path) -> LearningCurve:
    try:
        recipe, epochs, data = (
            _read_unfinished(path) if path.suffix == ".pt" else _read_finished(path)
        )
        history = tuple(EpochMetrics(**epoch) for epoch in epochs)
        of = (str(data["dataset_sha256"]), str(data["hold_out"]), int(recipe["window"]))
        name = str(recipe["name"])
    except (OSError, ValueError, TypeError, KeyError, ResumeError) as error:
        raise CurveError(
            f"{path}: not the history of a run of this nextvec train "
            f"({type(error).__name__}: {error})"
        ) from error
    if not history:
        raise CurveError(f"{path}: has no finished epoch")
    return LearningCurve(name, of, history)


def _read_finished(path: Path) -> tuple[Any, Any, Any]:
    """The recipe, the epochs, and the dataset with its hold-out."""
    content = json.loads(path.read_text())
    return content["recipe"], content["history"], content["data"]


def _read_unfinished(path: Path) -> tuple[Any, Any, Any]:
    """The same as `_read_finished`, for a run that is not finished."""
    text, state = checkpoint_store.read(path)
    run = json.loads(text)
    recipe = {**run["recipe"], "name": f"{run['recipe']['name']} (unfinished)"}
    return recipe, state.history, run


def _data_text(curve: LearningCurve) -> str:
    digest, hold_out, window = curve.data
    return f"{hold_out} of the dataset {digest[:12]}… at a window of {window}"
