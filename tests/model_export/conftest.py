"""A Memory-Augmented GRU, its graph and its engine; Torch on one thread."""

from __future__ import annotations

import torch

from tests.support.gru_fixtures import engine, graph_bytes, model

__all__ = ["engine", "graph_bytes", "model"]

torch.set_num_threads(1)
