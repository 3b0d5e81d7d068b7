"""Validation on the device: Hit@K of a model at several lengths of its step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.memory_augmented_gru import MemoryAugmentedGRU
from architectures.model import NextVectorModel
from corpora.candidate_pool import draw_pool
from corpora.corpus import Corpus
from training.stages.loss import steps_at

SCALES = (0.0, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4)
"""Factors of the step that are compared; 0 is *repeat the last vector*."""

MOST_COST = 0.01
"""Hit@5 on the familiar sets that a scale may cost."""

_VECTORS_AT_ONCE = 262_144


@dataclass(frozen=True)
class ValidationSet:
    """Documents that are not trained on, as one stream.

    `familiar` texts resemble training texts; the others are of genres or sources that training
    leaves out.
    """

    name: str
    corpus: Corpus
    familiar: bool


@dataclass(frozen=True)
class ValidationResult:
    """Hit@5 of every set at every one of `SCALES`, 0..1, and the scale that was chosen.

    `score` is the mean over the familiar and the mean over the other sets, averaged.
    """

    hits: dict[str, tuple[float, ...]]
    scale: float
    score: float

    @property
    def at_scale(self) -> dict[str, float]:
        """Hit@5 of every set at the chosen scale."""
        at = SCALES.index(self.scale)
        return {name: values[at] for name, values in self.hits.items()}


class Validator:
    """Measures a model on fixed pools of fixed sets."""

    def __init__(
        self, sets: Sequence[ValidationSet], device: torch.device, pool: int = 1000, seed: int = 1
    ) -> None:
        """Raises `ValueError` if there is no set, or if one has fewer than three vectors."""
        if not sets:
            raise ValueError("there is nothing to validate on")
        self._sets = tuple(sets)
        self._streams = [torch.from_numpy(one.corpus.vectors).to(device) for one in sets]
        self._targets = []
        for one in sets:
            total = len(one.corpus.vectors)
            if total < 3:
                raise ValueError(f"validation set {one.name} has only {total} vectors")
            self._targets.append(draw_pool("random", total, min(pool, total - 1), seed).targets)

    def measure(self, model: NextVectorModel, window: int) -> ValidationResult:
        """Leaves `model` in evaluation mode."""
        hits = {
            one.name: hits_by_scale(model, stream, targets, window)
            for one, stream, targets in zip(self._sets, self._streams, self._targets, strict=True)
        }
        familiar = [hits[one.name] for one in self._sets if one.familiar]
        foreign = [hits[one.name] for one in self._sets if not one.familiar]
        scalable = isinstance(model, MemoryAugmentedGRU)
        return ValidationResult(hits, *choose_scale(familiar, foreign, scalable=scalable))


def choose_scale(
    familiar: Sequence[tuple[float, ...]],
    foreign: Sequence[tuple[float, ...]],
    *,
    scalable: bool = True,
) -> tuple[float, float]:
    """The scale that is best on the foreign sets at a small cost on the familiar ones.

    1 for a model that is not `scalable`. Also returns the score at that scale.
    """
    groups = [np.mean(group, axis=0) for group in (familiar, foreign) if group]
    aim = groups[-1].copy()
    if familiar and foreign:
        aim[groups[0] < groups[0].max() - MOST_COST] = -1
    best = int(aim.argmax()) if scalable else SCALES.index(1.0)
    return SCALES[best], float(np.mean([group[best] for group in groups]))


def hits_by_scale(
    model: NextVectorModel, stream: Tensor, targets: NDArray[np.int64], window: int
) -> tuple[float, ...]:
    """Hit@5 among the targets for each of `SCALES`."""
    last, step = predict_steps(model, stream, targets, window)
    candidates = stream[torch.from_numpy(targets).to(stream.device)]
    return tuple(
        float((device_ranks(F.normalize(last + scale * step, dim=-1), candidates) <= 5).mean())
        for scale in SCALES
    )


def device_ranks(predicted: Tensor, candidates: Tensor) -> NDArray[np.int64]:
    """As `retrieval_metrics.ranks`, on the device."""
    # In float64: a GPU's float32 products may be rounded to the ten bits of TF32.
    scores = predicted.double() @ candidates.double().T
    own = scores.diagonal()[:, None]
    ranked: NDArray[np.int64] = (~(scores < own)).sum(dim=1).cpu().numpy()
    return ranked


@torch.inference_mode()
def predict_steps(
    model: NextVectorModel, stream: Tensor, targets: NDArray[np.int64], window: int
) -> tuple[Tensor, Tensor]:
    """The vector before each target, and the step from it, both `[n, dim]`.

    Reads the `window` vectors before a target, from a cold state; those with fewer before them
    read all there are, in one pass from the start of the stream.
    """
    model.eval()
    last = stream[torch.from_numpy(targets - 1).to(stream.device)]
    step = torch.empty_like(last)
    short = np.flatnonzero(targets < window)
    if len(short):
        inputs = stream[: int(targets[short].max()), None]
        time = torch.from_numpy(targets[short, None] - 1).to(stream.device)
        step[short] = steps_at(model, inputs, time, torch.zeros_like(time))[:, 0]
    full = np.flatnonzero(targets >= window)
    at_once = max(1, _VECTORS_AT_ONCE // window)
    back = torch.arange(window, device=stream.device)[:, None] - window
    for first in range(0, len(full), at_once):
        rows = full[first : first + at_once]
        positions = torch.from_numpy(targets[rows]).to(stream.device) + back
        row = torch.arange(len(rows), device=stream.device)[None]
        step[rows] = steps_at(model, stream[positions], torch.full_like(row, window - 1), row)[0]
    return last, step


def fold_scale(model: MemoryAugmentedGRU, scale: float) -> None:
    """Multiply the model's step by `scale`, in the weights of its last layer."""
    last = model.output_proj[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(scale)
        last.bias.mul_(scale)
