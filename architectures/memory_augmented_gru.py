"""The Memory-Augmented GRU, in PyTorch.

The names of modules and parameters are a file format: checkpoints are loaded strictly by
name, so a rename here makes every checkpoint unreadable.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures import recurrence
from architectures.model import NextVectorModel
from architectures.model_weights import MEMORY_AUGMENTED_GRU
from architectures.sizes import DIM, HIDDEN, LAYERS, SLOTS
from service.manifest import Dimensions

__all__ = ["DIM", "HIDDEN", "LAYERS", "PARAMETERS", "SLOTS", "Memory", "MemoryAugmentedGRU"]

PARAMETERS = 11_292_160
"""Trainable parameters. `memory.memory` is a buffer and does not count."""


class Memory(nn.Module):
    """A fixed bank of slots, read by content: softmax over cosines."""

    memory: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.randn(SLOTS, DIM) * 0.01)
        self.query_proj = nn.Linear(HIDDEN, DIM)
        # Unused, but part of the checkpoint format: neither training nor inference writes to
        # the memory.
        self.write_gate = nn.Linear(HIDDEN, SLOTS)

    def read(self, hidden: Tensor) -> Tensor:
        """Read the memory with a query for each hidden state: `[..., hidden] -> [..., dim]`."""
        query = F.normalize(self.query_proj(hidden), dim=-1)
        slots = F.normalize(self.memory, dim=-1)
        weights = torch.softmax(query @ slots.T, dim=-1)
        return weights @ self.memory


class MemoryAugmentedGRU(NextVectorModel):
    """A GRU with a memory that is read before the first layer and after the last."""

    ARCHITECTURE = MEMORY_AUGMENTED_GRU

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(DIM)
        self.gru = nn.GRU(2 * DIM, HIDDEN, num_layers=LAYERS, dropout=dropout)
        self.memory = Memory()
        self.fusion = nn.Sequential(
            nn.Linear(HIDDEN + DIM, HIDDEN),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.LayerNorm(HIDDEN),
        )
        self.output_proj = nn.Sequential(
            nn.Linear(HIDDEN, 2 * HIDDEN),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * HIDDEN, DIM),
        )

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN)

    def forward(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `NextVectorModel.forward`."""
        hidden, next_state = self.encode(vectors, state)
        return self.head(hidden), next_state

    def predict(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `NextVectorModel.predict`; the head runs on the last vector only."""
        hidden, next_state = self.encode(vectors, state)
        return F.normalize(vectors[-1] + self.head(hidden[-1]), dim=-1), next_state

    def predict_at(
        self, vectors: Tensor, time: Tensor, row: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `NextVectorModel.predict_at`; the head runs on the requested vectors only."""
        hidden, next_state = self.encode(vectors, state)
        step = self.head(hidden[time, row])
        return F.normalize(vectors[time, row] + step, dim=-1), next_state

    def encode(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run the GRU: its output at every vector `[time, batch, hidden]`, and the state."""
        time, batch, _ = vectors.shape
        # The query of the first read is zero, so its content is the same at every step.
        content = self.memory.read(vectors.new_zeros(1, HIDDEN))
        normed = self.input_norm(vectors)
        if self.training and not vectors.is_cuda:  # cuDNN has its own backward pass
            return recurrence.gru(self.gru, self._project(normed, content[0]), state)
        augmented = torch.cat([normed, content.expand(time, batch, DIM)], dim=-1)
        hidden, next_state = self.gru(augmented, state)
        return hidden, next_state

    def _project(self, normed: Tensor, content: Tensor) -> Tensor:
        """The first layer's input projection; the constant content is projected once."""
        weight, bias = recurrence.parameters(self.gru, "ih", 0)
        constant = F.linear(content, weight[:, DIM:], bias)
        return F.linear(normed, weight[:, :DIM], constant)

    def head(self, hidden: Tensor) -> Tensor:
        """Predict the step from the GRU's output: `[..., hidden] -> [..., dim]`."""
        fused: Tensor = self.fusion(torch.cat([hidden, self.memory.read(hidden)], dim=-1))
        step: Tensor = self.output_proj(fused)
        return step
