"""Cosine loss plus InfoNCE over the batch's targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def next_vector_loss(
    predicted: Tensor, target: Tensor, alpha: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Mean `1 - cosine`, and the same plus `alpha` times InfoNCE.

    `predicted` and `target` are unit vectors `[n, dim]`. InfoNCE (van den Oord
    et al. 2018, eq. 4) takes the other n - 1 targets as negatives.
    """
    cosine = 1 - (predicted * target).sum(dim=-1).mean()
    logits = predicted @ target.T / temperature
    contrast = F.cross_entropy(logits, torch.arange(len(target)))
    return cosine, cosine + alpha * contrast
