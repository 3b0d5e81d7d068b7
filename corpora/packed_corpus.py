"""A corpus in eight bits a value, read from disk as it is needed.

`Corpus` holds float32 vectors in memory: 3 KB a vector. A `PackedCorpus` keeps the arrays of the
file: 768 bytes a vector, and mapped instead of read where the archive is not compressed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpora import corpus
from corpora.corpus import Corpus, CorpusError

_CHECKED_AT_ONCE = 65_536
"""Rows that are checked together: 50 MB of a mapped file."""


@dataclass(frozen=True)
class PackedCorpus:
    """Vector i is `normalise(vectors_int8[i] * scale[i])`.

    `genres` and `sources` `[documents]` are empty text where the file has none.
    """

    vectors_int8: NDArray[np.int8]
    scale: NDArray[np.float32]
    document_id: NDArray[np.int32]
    documents: tuple[str, ...]
    genres: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def dim(self) -> int:
        return int(self.vectors_int8.shape[1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of vectors of each document."""
        return np.bincount(self.document_id, minlength=len(self.documents))

    def of_documents(self, chosen: NDArray[np.bool_]) -> Corpus:
        """The vectors of the `chosen` documents in float32, in reading order."""
        rows = np.flatnonzero(chosen[self.document_id])
        return Corpus(self.vectors(rows), self.document_id[rows], self.documents)

    def pack(self, chosen: NDArray[np.bool_]) -> PackedCorpus:
        """The `chosen` documents, renumbered from 0, in eight bits."""
        keep = chosen[self.document_id]
        number = np.cumsum(chosen) - 1
        names = [
            tuple(value for value, kept in zip(column, chosen, strict=True) if kept)
            for column in (self.documents, self.genres, self.sources)
        ]
        return PackedCorpus(
            self.vectors_int8[keep],
            self.scale[keep],
            number[self.document_id[keep]].astype(np.int32),
            *names,
        )

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The unit vectors of `rows`, `[n, dim]`."""
        # The scale of a row does not change its direction.
        values = self.vectors_int8[rows].astype(np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        return values


def open_corpus(path: Path, dim: int = 768) -> PackedCorpus:
    """Open the corpus in `path`. Raises `CorpusError`, as `corpus.load` does."""
    packed, scale, document_id, document = corpus.read_arrays(path, mapped=True)
    corpus.check_arrays(path, packed, scale, document_id, document, dim)
    if packed.dtype != np.int8:
        raise CorpusError(f"{path}: vectors_int8 has type {packed.dtype}, not int8")
    for first in range(0, len(packed), _CHECKED_AT_ONCE):
        if not (usable := (packed[first : first + _CHECKED_AT_ONCE] != 0).any(axis=1)).all():
            row = first + int(np.argmin(usable))
            raise CorpusError(f"{path}: row {row} is not a direction (zero, NaN or Inf)")
    if not (np.isfinite(scale) & (scale > 0)).all():
        row = int(np.argmin(np.isfinite(scale) & (scale > 0)))
        raise CorpusError(f"{path}: row {row} is not a direction (zero, NaN or Inf)")
    genre, source = corpus.read_labels(path, len(document))
    return PackedCorpus(
        packed,
        scale.astype(np.float32),
        document_id.astype(np.int32),
        tuple(map(str, document)),
        genre,
        source,
    )


def save_packed(path: Path, packed: PackedCorpus) -> None:
    """Write `packed` uncompressed, so that `open_corpus` can map it."""
    np.savez(
        path,
        vectors_int8=packed.vectors_int8,
        scale=packed.scale,
        document_id=packed.document_id,
        document=np.array(packed.documents),
        genre=np.array(packed.genres),
        source=np.array(packed.sources),
    )
