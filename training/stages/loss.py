"""The loss of a batch: InfoNCE among all texts, InfoNCE within the document, cosine and length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from architectures.model import NextVectorModel
from training.stages.device_corpus import DeviceCorpus
from training.stages.recipe import StagedRecipe


@dataclass(frozen=True)
class BatchLoss:
    """The total loss with its graph; the mean cosine and mean length of the steps without."""

    total: Tensor
    cosine: Tensor
    step_length: Tensor


def batch_loss(
    model: NextVectorModel,
    corpus: DeviceCorpus,
    recipe: StagedRecipe,
    window: int,
    batch: int,
    generator: torch.Generator,
) -> BatchLoss:
    """Draw a batch of sequences, predict at random places in each of them, compare."""
    drawn = corpus.draw_sequences(window, batch, generator)
    vectors = corpus.vectors(drawn.positions)
    own = corpus.draw_within(drawn.document, recipe.document_negatives, generator)
    own_vectors = corpus.vectors(own)
    moved = int(batch * recipe.shift_share)
    if moved:
        shift = corpus.draw_shifts(moved, recipe.shift_length, generator)
        vectors = _shifted(vectors, shift)
        own_vectors = _shifted(own_vectors, shift)
    bf16 = recipe.precision == "bf16"
    count = max(1, recipe.positions // batch)
    time = torch.randint(window, (count, batch), generator=generator, device=corpus.device)
    row = torch.arange(batch, device=corpus.device).expand(count, batch)
    with torch.autocast(corpus.device.type, torch.bfloat16, enabled=bf16):
        step = steps_at(model, vectors[:-1], time, row).float()
    predicted = F.normalize(vectors[time, row] + step, dim=-1)
    target = vectors[time + 1, row]
    position = drawn.positions[time + 1, row]
    usable = corpus.is_target(position)
    cosine = (predicted * target).sum(dim=-1)
    length = step.norm(dim=-1)
    total = recipe.cosine_weight * _mean(1 - cosine, usable)
    if isinstance(model, MemoryAugmentedGRU):
        excess = (length - recipe.step_limit).clamp(min=0)
        total = total + recipe.step_weight * _mean(excess.square(), usable)
    # A moved sequence has no counterpart among the other texts.
    rest = slice(moved, None)
    others = corpus.draw_anywhere(recipe.others, generator)
    total = total + _among_all(
        predicted[:, rest].flatten(0, 1),
        torch.cat([target[:, rest].flatten(0, 1), corpus.vectors(others)]),
        torch.cat([position[:, rest].flatten(), others]),
        usable[:, rest].flatten(),
        recipe.temperature,
    )
    if recipe.document_negatives and recipe.document_weight:
        inside = usable & corpus.is_of(position, drawn.document.expand(count, batch))
        total = total + recipe.document_weight * _within_document(
            predicted, target, position, own_vectors, own, inside, recipe.temperature
        )
    return BatchLoss(total, _mean(cosine.detach(), usable), _mean(length.detach(), usable))


def steps_at(model: NextVectorModel, vectors: Tensor, time: Tensor, row: Tensor) -> Tensor:
    """The step after each `vectors[time, row]` of `[window, batch, dim]`: `[count, batch, dim]`.

    `time` and `row` are `[count, batch]`, and `row` counts the columns.
    """
    if isinstance(model, MemoryAugmentedGRU):
        hidden, _ = model.encode(vectors)
        return model.head(hidden[time, row])
    assert isinstance(model, DecayedMeans)
    # Every mean at every asked place is one product with known weights.
    age = time[..., None] - torch.arange(len(vectors), device=vectors.device)
    decay = model.decay[:, None, None, None]
    weights = torch.where(age >= 0, (1 - decay) * decay ** age.clamp(min=0), 0.0)
    seen = model.view(vectors)
    means = torch.einsum("kcbt,tbw->kcbw", weights.to(seen.dtype), seen)
    directions = model.directions(seen[time, row].flatten(0, 1), means.flatten(1, 2))
    return model.direction(directions).view(*time.shape, -1) - vectors[time, row]


def _among_all(
    predicted: Tensor, candidates: Tensor, positions: Tensor, usable: Tensor, temperature: float
) -> Tensor:
    """InfoNCE of `predicted` `[n, dim]`; the first n of the `candidates` are the targets.

    A candidate at the position of the target is not its negative.
    """
    rows = torch.arange(len(predicted), device=predicted.device)
    if not len(rows):
        return predicted.sum()
    logits = predicted @ candidates.T / temperature
    same = positions[: len(rows), None] == positions[None]
    same[rows, rows] = False
    logits = logits.masked_fill(same, -torch.inf)
    return _mean(F.cross_entropy(logits, rows, reduction="none"), usable)


def _within_document(
    predicted: Tensor,
    target: Tensor,
    position: Tensor,
    own: Tensor,
    own_positions: Tensor,
    usable: Tensor,
    temperature: float,
) -> Tensor:
    """InfoNCE of `predicted` `[count, batch, dim]` against `own` `[candidates, batch, dim]`."""
    right = (predicted * target).sum(dim=-1)[..., None]
    wrong = torch.einsum("sbd,kbd->sbk", predicted, own)
    same = position[..., None] == own_positions.T[None]
    logits = torch.cat([right, wrong.masked_fill(same, -torch.inf)], dim=-1) / temperature
    return _mean(logits.logsumexp(dim=-1) - logits[..., 0], usable)


def _shifted(vectors: Tensor, shift: Tensor) -> Tensor:
    """Move the first columns of `vectors` `[n, batch, dim]` by `shift` `[columns, dim]`."""
    moved = F.normalize(vectors[:, : len(shift)] + shift, dim=-1)
    return torch.cat([moved, vectors[:, len(shift) :]], dim=1)


def _mean(values: Tensor, usable: Tensor) -> Tensor:
    return (values * usable).sum() / usable.sum().clamp(min=1)
