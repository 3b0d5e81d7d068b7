"""Embeds shards of tokenized sentences at the speed of the device, as eight-bit vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.embedder import SentenceEncoder
from training.data.tokenization import TokenizedSentences

_TOKENS_AT_ONCE = {"cuda": 131_072, "cpu": 8_192}
"""Tokens of a batch, padding included. A GPU needs many to be busy."""

_MULTIPLE = 8
"""Batches are padded to a multiple of this length, which tensor cores like."""

PackedRows = tuple[NDArray[np.int8], NDArray[np.float32]]


class BulkEncoder:
    """Runs a `SentenceEncoder`'s network on batches of sentences of similar length.

    If the device runs out of memory, batches are halved for the rest of the build, and `notice`
    is called with a text that says so.
    """

    def __init__(
        self, encoder: SentenceEncoder, notice: Callable[[str], None] = lambda _text: None
    ) -> None:
        self._encoder, self._notice = encoder, notice
        self._device = torch.device(encoder.device)
        self._tokens_at_once = _TOKENS_AT_ONCE[self._device.type]

    def embed(self, sentences: TokenizedSentences) -> PackedRows:
        """The sentences' vectors in their order: `[n, dim]` in eight bits, and `[n]` scales."""
        order = np.argsort(sentences.lengths, kind="stable")
        values: list[Tensor] = []
        scales: list[Tensor] = []
        tokens = torch.from_numpy(sentences.tokens)
        if self._device.type == "cuda":
            tokens = tokens.pin_memory().to(self._device, non_blocking=True)
        starts = np.cumsum(sentences.lengths, dtype=np.int64) - sentences.lengths
        for rows in self._batches(order, sentences.lengths):
            value, scale = self._embed(tokens, starts[rows], sentences.lengths[rows])
            values.append(value)
            scales.append(scale)
        packed = np.empty((len(order), self._encoder.dim), np.int8)
        scale_of = np.empty(len(order), np.float32)
        packed[order[::-1]] = torch.cat([part.flip(0) for part in values]).cpu().numpy()
        scale_of[order[::-1]] = torch.cat([part.flip(0) for part in scales]).cpu().numpy()
        return packed, scale_of

    def _batches(
        self, order: NDArray[np.int64], lengths: NDArray[np.int32]
    ) -> Iterator[NDArray[np.int64]]:
        """Consecutive parts of `order`, each of at most `_tokens_at_once` padded tokens."""
        # From the longest on: a device without enough memory fails at once, not at the end.
        end = len(order)
        while end > 0:
            longest = _padded(int(lengths[order[end - 1]]))
            first = max(0, end - max(1, self._tokens_at_once // longest))
            yield order[first:end]
            end = first

    def _embed(
        self, tokens: Tensor, starts: NDArray[np.int64], lengths: NDArray[np.int32]
    ) -> tuple[Tensor, Tensor]:
        try:
            return self._run(tokens, starts, lengths)
        except torch.OutOfMemoryError:
            if len(starts) == 1:
                raise
        torch.cuda.empty_cache()
        self._tokens_at_once = max(1, self._tokens_at_once // 2)
        self._notice(
            f"the device is out of memory: batches of {self._tokens_at_once} tokens from here on"
        )
        middle = len(starts) // 2
        halves = [
            self._embed(tokens, starts[part], lengths[part])
            for part in (slice(None, middle), slice(middle, None))
        ]
        return torch.cat([a for a, _ in halves]), torch.cat([b for _, b in halves])

    @torch.inference_mode()
    def _run(
        self, tokens: Tensor, starts: NDArray[np.int64], lengths: NDArray[np.int32]
    ) -> tuple[Tensor, Tensor]:
        start = torch.from_numpy(starts).to(self._device, non_blocking=True)
        length = torch.from_numpy(lengths).to(self._device, non_blocking=True)
        column = torch.arange(_padded(int(lengths.max())), device=self._device)
        mask = column < length[:, None]
        at = (start[:, None] + column).clamp_(max=len(tokens) - 1)
        ids = tokens[at].long().masked_fill_(~mask, self._encoder.pad_token)
        vectors = self._encoder.pooled(ids, mask)
        scale = vectors.abs().amax(dim=1) / 127
        return (vectors / scale[:, None]).round_().to(torch.int8), scale


def _padded(length: int) -> int:
    return -(-length // _MULTIPLE) * _MULTIPLE
