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
    hard_negatives: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The mean of `1 - cosine`, and that plus `alpha` times InfoNCE.

    `predicted` and `target` are unit vectors `[n, dim]`. The negatives of InfoNCE (van den Oord
    et al. 2018, eq. 4) are the other n - 1 targets and each row's own `hard_negatives`: vectors
    `[n, k, dim]` and a mask `[n, k]` of those that exist.
    """
    cosine = 1 - (predicted * target).sum(dim=-1).mean()
    logits = predicted @ target.T / temperature
    if hard_negatives is not None:
        vectors, present = hard_negatives
        own = torch.einsum("nd,nkd->nk", predicted, vectors) / temperature
        logits = torch.cat([logits, own.masked_fill(~present, -torch.inf)], dim=1)
    contrastive = F.cross_entropy(logits, torch.arange(len(target)))
    return cosine, cosine + alpha * contrastive
