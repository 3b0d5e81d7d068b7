"""Runs beside each other by what they cost: Hit@5 against vectors read."""

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
    """The histories cannot be drawn together; says why."""


@dataclass(frozen=True)
class LearningCurve:
    """A run by its epochs; `data` is what was held out of which dataset, and the window.

    An epoch's quick Hit@5 leaves out what its last window does not fill: at another
    window the pool is another.
    """

    name: str
    data: tuple[str, str, int]
    history: tuple[EpochMetrics, ...]

    @property
    def vectors(self) -> list[int]:
        """Vectors read forward and backward up to each epoch's end."""
        return list(accumulate(epoch.vectors for epoch in self.history))

    @property
    def best(self) -> int:
        """The place of the epoch with the highest Hit@5, the first of equals."""
        hits = [epoch.hit_at_5 for epoch in self.history]
        return hits.index(max(hits))


def load(paths: Sequence[Path]) -> list[LearningCurve]:
    """The runs of `nextvec train`'s `.history.json` and `.unfinished.pt` files.

    Raises `CurveError` on a file that is none, and where two runs did not hold out the
    same or read another window: the Hit@5 of an epoch is of that pool.
    """
    curves = [_load(path) for path in paths]
    for path, curve in zip(paths, curves, strict=True):
        if curve.data != curves[0].data:
            raise CurveError(
                f"{paths[0]} holds out {_told(curves[0])} and {path} {_told(curve)}: "
                "their pools differ; train both on the same, or compare the checkpoints"
            )
    return curves


def table(curves: Sequence[LearningCurve]) -> str:
    """A row a run, in Markdown; the speed is that of the epoch which others' work held up least."""
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
        told, epochs, data = _unfinished(path) if path.suffix == ".pt" else _finished(path)
        history = tuple(EpochMetrics(**epoch) for epoch in epochs)
        of = (str(data["dataset_sha256"]), str(data["hold_out"]), int(told["window"]))
        name = str(told["name"])
    except (OSError, ValueError, TypeError, KeyError, ResumeError) as error:
        raise CurveError(
            f"{path}: not the history of a run of this nextvec train "
            f"({type(error).__name__}: {error})"
        ) from error
    if not history:
        raise CurveError(f"{path}: has no epoch")
    return LearningCurve(name, of, history)


def _finished(path: Path) -> tuple[Any, Any, Any]:
    """Recipe, epochs, and what was held out of which dataset."""
    content = json.loads(path.read_text())
    return content["recipe"], content["history"], content["data"]


def _unfinished(path: Path) -> tuple[Any, Any, Any]:
    """As `_finished`, of a run that goes on or was killed."""
    text, state = checkpoint_store.read(path)
    run = json.loads(text)
    told = {**run["recipe"], "name": f"{run['recipe']['name']} (unfinished)"}
    return told, state.history, run


def _told(curve: LearningCurve) -> str:
    digest, hold_out, window = curve.data
    return f"{hold_out} of the dataset {digest[:12]}… at a window of {window}"
