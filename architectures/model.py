"""The interface of a network: what training, evaluation and export use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from architectures.model_weights import ModelWeights
from service.manifest import Dimensions


class NextVectorModel(nn.Module, ABC):
    """A network that predicts the vector after a context."""

    ARCHITECTURE: ClassVar[str]
    """The name in checkpoints and manifests."""

    @property
    @abstractmethod
    def dimensions(self) -> Dimensions:
        """The width of the vectors, and the layers and width of the state."""

    @abstractmethod
    def forward(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run `vectors` `[time, batch, dim]` from `state` `[layers, batch, hidden]`.

        Returns the step (next vector minus this one) predicted at every vector
        `[time, batch, dim]`, and the state after the last one. Without a state, starts cold
        (zeros).
        """

    @abstractmethod
    def predict(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict the unit vector after the last of `vectors`: `[batch, dim]`, and the state."""

    def predict_at(
        self, vectors: Tensor, time: Tensor, row: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict the unit vector after each `vectors[time[i], row[i]]`: `[n, dim]`.

        Also returns the state after the last vector.
        """
        steps, next_state = self(vectors, state)
        return F.normalize(vectors[time, row] + steps[time, row], dim=-1), next_state

    def predict_each(self, vectors: Tensor) -> Tensor:
        """Predict the unit vector after every vector, from a cold state: `[time, batch, dim]`."""
        return F.normalize(vectors + self(vectors)[0], dim=-1)

    def weights(self) -> ModelWeights:
        """The tensors in NumPy, for an export; they share their memory with the model."""
        tensors = {name: value.detach().numpy() for name, value in self.state_dict().items()}
        return ModelWeights(self.ARCHITECTURE, tensors)

    @property
    def trainable(self) -> int:
        """The number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())
