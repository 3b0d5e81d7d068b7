"""The Memory-Augmented GRU, in PyTorch.

Module and parameter names are a file format: checkpoints are loaded strictly
by them, so a rename here breaks every checkpoint there is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures import recurrence
from architectures.model import NextVectorModel
from service.manifest import Dimensions

DIM = 768
HIDDEN = 512
LAYERS = 4
SLOTS = 2048

PARAMETERS = 11_292_160
"""Trainable parameters; `memory.memory` is a buffer and not counted."""


class Memory(nn.Module):
    """A fixed bank of slots, read by content (cosine, then softmax)."""

    memory: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.randn(SLOTS, DIM) * 0.01)
        self.query_proj = nn.Linear(HIDDEN, DIM)
        # Part of the checkpoint format. Neither the dense recipe nor inference
        # writes to the memory, so it is carried along untouched.
        self.write_gate = nn.Linear(HIDDEN, SLOTS)

    def read(self, hidden: Tensor) -> Tensor:
        """Content for each query: `[..., hidden] -> [..., dim]`."""
        query = F.normalize(self.query_proj(hidden), dim=-1)
        slots = F.normalize(self.memory, dim=-1)
        weights = torch.softmax(query @ slots.T, dim=-1)
        return weights @ self.memory


class MemoryAugmentedGRU(NextVectorModel):
    """A GRU that reads a memory by content, before and after."""

    ARCHITECTURE = "memory-augmented-gru"

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
        """See `NextVectorModel.predict`; the head runs on the last vector alone."""
        hidden, next_state = self.encode(vectors, state)
        return F.normalize(vectors[-1] + self.head(hidden[-1]), dim=-1), next_state

    def predict_at(
        self, vectors: Tensor, time: Tensor, row: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `NextVectorModel.predict_at`; the head runs where it is asked for alone."""
        hidden, next_state = self.encode(vectors, state)
        step = self.head(hidden[time, row])
        return F.normalize(vectors[time, row] + step, dim=-1), next_state

    def encode(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The GRU's output at every vector `[time, batch, hidden]`, and the state."""
        time, batch, _ = vectors.shape
        # The first read has a zero query: one constant, the same at every step.
        content = self.memory.read(vectors.new_zeros(1, HIDDEN))
        normed = self.input_norm(vectors)
        if self.training:
            return recurrence.gru(self.gru, self._projected(normed, content[0]), state)
        augmented = torch.cat([normed, content.expand(time, batch, DIM)], dim=-1)
        hidden, next_state = self.gru(augmented, state)
        return hidden, next_state

    def _projected(self, normed: Tensor, content: Tensor) -> Tensor:
        """What the first layer makes of its input, the constant half multiplied once."""
        weight, bias = recurrence.parameters(self.gru, "ih", 0)
        constant = F.linear(content, weight[:, DIM:], bias)
        return F.linear(normed, weight[:, :DIM], constant)

    def head(self, hidden: Tensor) -> Tensor:
        """The step predicted from the GRU's output: `[..., hidden] -> [..., dim]`."""
        fused: Tensor = self.fusion(torch.cat([hidden, self.memory.read(hidden)], dim=-1))
        step: Tensor = self.output_proj(fused)
        return step
