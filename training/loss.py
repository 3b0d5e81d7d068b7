"""Cosine loss plus InfoNCE over the batch's targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def next_vector_loss(
    predicted: Tensor,
    target: Tensor,
    alpha: float,
    temperature: float,
    hard: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean `1 - cosine`, and the same plus `alpha` times InfoNCE.

    `predicted` and `target` are unit vectors `[n, dim]`. InfoNCE (van den Oord
    et al. 2018, eq. 4) takes the other n - 1 targets as negatives, and each row's own
    `hard` ones: `[n, k, dim]`, with which of them there are `[n, k]`.
    """
    cosine = 1 - (predicted * target).sum(dim=-1).mean()
    logits = predicted @ target.T / temperature
    if hard is not None:
        vectors, present = hard
        own = torch.einsum("nd,nkd->nk", predicted, vectors) / temperature
        logits = torch.cat([logits, own.masked_fill(~present, -torch.inf)], dim=1)
    contrast = F.cross_entropy(logits, torch.arange(len(target)))
    return cosine, cosine + alpha * contrast
