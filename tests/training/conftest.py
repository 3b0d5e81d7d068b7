"""Torch on one thread, and the small corpus."""

from __future__ import annotations

import torch

from tests.support.corpus_fakes import small, small_file

__all__ = ["small", "small_file"]

torch.set_num_threads(1)
