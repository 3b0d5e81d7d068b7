"""A Memory-Augmented GRU; Torch on one thread."""

from __future__ import annotations

import torch

from tests.support.gru_fixtures import model

__all__ = ["model"]

torch.set_num_threads(1)
