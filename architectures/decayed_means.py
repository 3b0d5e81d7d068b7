"""Decayed Means: several exponentially decayed means of the past, and one linear map.

The recurrence is linear and its only parameters are the decays, which are not trained. A
context of any length is therefore one product with known weights, and one more vector costs
one multiplication and one addition. Training fits the linear map, without backpropagation
through time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.model import NextVectorModel
from architectures.model_weights import DECAYED_MEANS
from architectures.sizes import DIM
from service.manifest import Dimensions


class DecayedMeans(NextVectorModel):
    """`prediction = normalise(basis @ (sum of scale[k] * u[k] + mix(u)))`.

    With `x = (last vector - centre) @ basis`, the state holds the means
    `m[k]' = decay[k] * m[k] + (1 - decay[k]) * x`, and `u` are the unit vectors of `x` and of
    every mean. `centre` and `basis` come from the training vectors: their mean and their first
    `width` principal directions. `mix` starts at zero, where the model is a weighted sum of
    decayed centred means.
    """

    ARCHITECTURE = DECAYED_MEANS

    centre: Tensor
    basis: Tensor
    decay: Tensor

    def __init__(self, decays: Sequence[float], width: int) -> None:
        """`decays`, each in 0..1, one for each mean; `width` of the state, at most `DIM`."""
        super().__init__()
        rows = len(decays) + 1
        self.register_buffer("centre", torch.zeros(DIM))
        self.register_buffer("basis", torch.eye(DIM)[:, :width].contiguous())
        self.register_buffer("decay", torch.tensor(decays, dtype=torch.float32))
        self.scale = nn.Parameter(torch.ones(rows))
        self.drop = nn.Dropout()
        self.mix = nn.Linear(rows * width, width)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(dim=DIM, layers=len(self.decay), hidden=self.basis.shape[1])

    def forward(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `NextVectorModel.forward`; runs vector by vector."""
        means = self._start(vectors, state)
        keep = self.decay[:, None, None]
        passed = []
        for seen in self.view(vectors):
            means = keep * means + (1 - keep) * seen
            passed.append(self.direction(self.directions(seen, means)))
        return torch.stack(passed) - vectors, means

    def predict(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `NextVectorModel.predict`; the whole context is one product."""
        age = torch.arange(len(vectors) - 1, -1, -1, dtype=vectors.dtype)
        weights = (1 - self.decay[:, None]) * self.decay[:, None] ** age
        seen = self.view(vectors)
        means = torch.einsum("kt,tbd->kbd", weights, seen)
        means = means + self._start(vectors, state) * self.decay[:, None, None] ** len(vectors)
        return self.direction(self.directions(seen[-1], means)), means

    def view(self, vectors: Tensor) -> Tensor:
        """Project vectors into the basis: `[..., dim] -> [..., width]`."""
        return (vectors - self.centre) @ self.basis

    @staticmethod
    def directions(seen: Tensor, means: Tensor) -> Tensor:
        """The unit vectors `[n, means + 1, width]` of the last vector and of the means.

        Takes the last vector's view `[n, width]` and the means `[means, n, width]`.
        """
        return F.normalize(torch.cat([seen[None], means]), dim=-1).transpose(0, 1)

    def direction(self, directions: Tensor) -> Tensor:
        """Predict unit vectors `[n, dim]` from `directions` `[n, means + 1, width]`."""
        weighted = (self.scale[:, None] * directions).sum(dim=1)
        mixed = weighted + self.mix(self.drop(directions.flatten(1)))
        return F.normalize(mixed @ self.basis.T, dim=-1)

    def _start(self, vectors: Tensor, state: Tensor | None) -> Tensor:
        sizes = self.dimensions
        cold = vectors.new_zeros(sizes.layers, vectors.shape[1], sizes.hidden)
        return cold if state is None else state
