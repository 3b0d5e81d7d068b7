"""One model with every weight in play."""

from __future__ import annotations

import pytest
import torch

from architectures.memory_augmented_gru import MemoryAugmentedGRU

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> MemoryAugmentedGRU:
    """A GRU whose parameters are all random: a constant that is left out shows."""
    torch.manual_seed(7)
    model = MemoryAugmentedGRU().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
        model.memory.memory.copy_(torch.randn_like(model.memory.memory))
    return model
