"""What training, evaluation and export ask of an architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from service.manifest import Dimensions


class NextVectorModel(nn.Module, ABC):
    """Predicts the step from the last vector of a context to the next one."""

    ARCHITECTURE: ClassVar[str]
    """Its name in checkpoints and manifests."""

    @property
    @abstractmethod
    def dimensions(self) -> Dimensions:
        """Width of the vectors, and rows and width of the state."""

    @abstractmethod
    def forward(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run `vectors` `[time, batch, dim]` from `state` `[layers, batch, hidden]`.

        Returns the step predicted after every vector `[time, batch, dim]` and
        the state after the last one. No state means a cold one (zeros).
        """

    @abstractmethod
    def predict(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The unit vector after the last of `vectors`: `[batch, dim]`, and the state."""

    def predict_at(
        self, vectors: Tensor, time: Tensor, row: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The unit vectors after `vectors[time[i], row[i]]`: `[n, dim]`; the state after all."""
        steps, next_state = self(vectors, state)
        return F.normalize(vectors[time, row] + steps[time, row], dim=-1), next_state

    def predict_each(self, vectors: Tensor) -> Tensor:
        """The unit vector after every one of `vectors`, from cold: `[time, batch, dim]`."""
        return F.normalize(vectors + self(vectors)[0], dim=-1)

    @property
    def trainable(self) -> int:
        """How many numbers training moves."""
        return sum(parameter.numel() for parameter in self.parameters())
