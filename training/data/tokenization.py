"""Tokenizes sentences in worker processes, ahead of the encoder.

The module imports neither PyTorch nor Transformers, so that a worker starts quickly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_TOKENS = 384
"""The longest input that all-mpnet-base-v2 was trained on; 40 words are about 60 tokens."""

_PIECE = 4096
"""Sentences that a worker tokenizes at once."""


@dataclass(frozen=True)
class TokenizedSentences:
    """The tokens of consecutive sentences end to end, and the number of tokens of each."""

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int32]


_tokenizer: Any = None
"""The worker's own tokenizer."""


def tokenize_shards(
    folder: Path, shards: Sequence[Sequence[str]], workers: int, longest: int = MAX_TOKENS
) -> Iterator[TokenizedSentences]:
    """Tokenize `shards` of sentences in order, each cut at `longest` tokens.

    The tokenizer is the one in `folder`. The workers run ahead of the caller. With one worker
    everything runs in this process.
    """
    if workers <= 1:
        _load(folder, longest, parallel=True)
        for shard in shards:
            yield _tokenize(list(shard))
        return
    pieces = [
        (number, list(shard[first : first + _PIECE]))
        for number, shard in enumerate(shards)
        for first in range(0, len(shard), _PIECE)
    ]
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_load, initargs=(folder, longest, False)
    ) as pool:
        results = pool.map(_tokenize, [text for _, text in pieces])
        waiting: list[TokenizedSentences] = []
        for (number, _), result, following in zip(
            pieces, results, [*(at for at, _ in pieces[1:]), -1], strict=True
        ):
            waiting.append(result)
            if following != number:
                yield _join(waiting)
                waiting = []


def _load(folder: Path, longest: int, parallel: bool) -> None:  # noqa: FBT001 - an initializer's arguments
    global _tokenizer  # noqa: PLW0603 - a worker's initializer can leave a value nowhere else
    os.environ["TOKENIZERS_PARALLELISM"] = str(parallel).lower()
    from tokenizers import Tokenizer  # noqa: PLC0415 - reads the variable above

    _tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    _tokenizer.no_padding()
    _tokenizer.enable_truncation(longest)


def _tokenize(sentences: list[str]) -> TokenizedSentences:
    rows = [encoding.ids for encoding in _tokenizer.encode_batch(sentences)]
    lengths = np.array([len(row) for row in rows], np.int32)
    return TokenizedSentences(np.array([i for row in rows for i in row], np.int32), lengths)


def _join(parts: list[TokenizedSentences]) -> TokenizedSentences:
    return TokenizedSentences(
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.lengths for part in parts]),
    )
