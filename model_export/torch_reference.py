"""The networks in PyTorch, as they were trained: what a graph is compared with."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from architectures import checkpoint
from architectures.model_weights import ModelWeights
from service.types import Vectors


class TorchReference:
    """`NextVectorModel.predict` on arrays."""

    name = "PyTorch"

    def __init__(self, weights: ModelWeights) -> None:
        self._model = checkpoint.restore(weights)

    def predict(
        self, vectors: Vectors, state: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """See `NumpyReference.predict`."""
        given = None if state is None else torch.from_numpy(state)
        with torch.inference_mode():
            answer, after = self._model.predict(torch.from_numpy(vectors), given)
        return answer.numpy(), after.numpy()
