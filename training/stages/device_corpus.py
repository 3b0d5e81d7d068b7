"""A training corpus on the device in eight bits, and random sequences from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from corpora.packed_corpus import PackedCorpus


@dataclass(frozen=True)
class SequenceBatch:
    """Positions of sequences in the corpus, time-major.

    `positions` `[window + 1, batch]`: the first `window` are inputs, the last `window` targets.
    `document` `[batch]` is the document that a sequence was drawn from.
    """

    positions: Tensor
    document: Tensor


class DeviceCorpus:
    """The vectors of a corpus on a device, 768 bytes each.

    A sequence lies in one document if the document is long enough. Otherwise it begins where the
    document does and runs on into the next one, whose first vector is not a target.
    """

    def __init__(self, packed: PackedCorpus, device: torch.device, genre_balance: float) -> None:
        self.device = device
        self._values = torch.from_numpy(np.ascontiguousarray(packed.vectors_int8)).to(device)
        self._document_of = torch.from_numpy(packed.document_id.astype(np.int64)).to(device)
        lengths = packed.lengths
        self._lengths = torch.from_numpy(lengths).to(device)
        self._starts = torch.from_numpy(np.cumsum(lengths) - lengths).to(device)
        weights = document_weights(packed, genre_balance)
        self._weights = torch.from_numpy(weights).to(device)
        self._centres = self._document_means()

    def __len__(self) -> int:
        return len(self._values)

    def vectors(self, positions: Tensor) -> Tensor:
        """The unit vectors at `positions`: `[..., dim]` in float32."""
        return F.normalize(self._values[positions].float(), dim=-1)

    def draw_sequences(self, window: int, batch: int, generator: torch.Generator) -> SequenceBatch:
        """Draw `batch` sequences, documents by their weight and places in them evenly."""
        document = torch.multinomial(self._weights, batch, replacement=True, generator=generator)
        room = (self._lengths[document] - window).clamp_(min=1)
        place = self._uniform(batch, generator)
        start = self._starts[document] + (place * room).long()
        start = start.clamp_(max=len(self) - window - 1)
        steps = torch.arange(window + 1, device=self.device)
        return SequenceBatch(start + steps[:, None], document)

    def is_target(self, positions: Tensor) -> Tensor:
        """The vector before a position is of the same document."""
        return self._document_of[positions] == self._document_of[positions - 1]

    def is_of(self, positions: Tensor, document: Tensor) -> Tensor:
        """Each position is in the document beside it."""
        return self._document_of[positions] == document

    def draw_anywhere(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random positions."""
        return (self._uniform(count, generator) * len(self)).long()

    def draw_within(self, document: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """`count` random positions in each document: `[count, documents]`."""
        place = self._uniform((count, len(document)), generator)
        return self._starts[document] + (place * self._lengths[document]).long()

    def draw_shifts(self, count: int, length: float, generator: torch.Generator) -> Tensor:
        """Differences of two random documents' means, times up to `length`: `[count, dim]`."""
        pairs = torch.randint(
            len(self._centres), (2, count), generator=generator, device=self.device
        )
        share = self._uniform(count, generator).float() * length
        difference = self._centres[pairs[0]] - self._centres[pairs[1]]
        return share[:, None] * difference

    def _uniform(self, size: int | tuple[int, int], generator: torch.Generator) -> Tensor:
        # In float64, because float32 has too few digits for a position among millions.
        shape = (size,) if isinstance(size, int) else size
        return torch.rand(shape, generator=generator, device=self.device, dtype=torch.float64)

    def _document_means(self) -> Tensor:
        sums = torch.zeros(len(self._lengths), self._values.shape[1], device=self.device)
        for first in range(0, len(self), 65_536):
            rows = torch.arange(first, min(first + 65_536, len(self)), device=self.device)
            sums.index_add_(0, self._document_of[rows], self.vectors(rows))
        return sums / self._lengths[:, None].clamp(min=1)


def document_weights(packed: PackedCorpus, balance: float) -> NDArray[np.float64]:
    """The weight of each document: its length times its genre's share to the power `-balance`."""
    lengths = packed.lengths.astype(np.float64)
    genres, genre_of = np.unique(np.array(packed.genres), return_inverse=True)
    share = np.bincount(genre_of, lengths, minlength=len(genres)) / lengths.sum()
    weights: NDArray[np.float64] = lengths * np.maximum(share, 1e-9)[genre_of] ** -balance
    return weights


def draw_rows(
    packed: PackedCorpus, count: int, balance: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """`count` ascending rows, documents by `document_weights`; some twice if there are too few."""
    share = document_weights(packed, balance) / np.maximum(packed.lengths, 1)
    each = share[packed.document_id]
    rows: NDArray[np.int64] = rng.choice(
        len(packed), count, replace=len(packed) < count, p=each / each.sum()
    )
    return np.sort(rows)
