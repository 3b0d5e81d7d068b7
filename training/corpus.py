"""A corpus: consecutive unit vectors, in documents, read from an `.npz` file.

Format: `vectors_int8` `[n, dim]` int8 and `scale` `[n]` float32 (a vector is
`normalise(vectors_int8 * scale)`), `document_id` `[n]` int32 ascending, and
`document` `[documents]` names.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class CorpusError(Exception):
    """The file is not a corpus; names what is wrong and where."""


@dataclass(frozen=True)
class Corpus:
    """Vectors in reading order; `document_id` says which document each is of."""

    vectors: NDArray[np.float32]
    document_id: NDArray[np.int32]
    documents: tuple[str, ...]

    def of_documents(self, chosen: NDArray[np.bool_]) -> Corpus:
        """The corpus of the chosen documents alone, still in reading order."""
        keep = chosen[self.document_id]
        return Corpus(self.vectors[keep], self.document_id[keep], self.documents)


@dataclass(frozen=True)
class Split:
    """Whole documents on either side, so that no text is on both."""

    train: Corpus
    held_out: Corpus


def load(path: Path, dim: int = 768) -> Corpus:
    """The corpus in `path`. Raises `CorpusError`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            packed, scale, document_id, document = (
                archive[key] for key in ("vectors_int8", "scale", "document_id", "document")
            )
    except KeyError as error:
        raise CorpusError(f"{path}: no array {error}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CorpusError(f"{path}: not a readable .npz file: {error}") from error
    if packed.ndim != 2 or packed.shape[1] != dim:
        raise CorpusError(f"{path}: vectors_int8 has shape {list(packed.shape)}, not [n, {dim}]")
    if not len(packed) == len(scale) == len(document_id) > 0:
        raise CorpusError(
            f"{path}: vectors_int8, scale and document_id differ in length or are empty"
        )
    if bad := np.flatnonzero(~np.isfinite(scale) | (scale <= 0) | ~packed.any(axis=1)).tolist():
        raise CorpusError(f"{path}: row {bad[0]} is not a direction (zero, NaN or Inf)")
    if (np.diff(document_id) < 0).any() or document_id[0] < 0 or document_id[-1] >= len(document):
        raise CorpusError(f"{path}: document_id is not ascending within 0..{len(document) - 1}")
    vectors = packed * scale[:, None].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Corpus(vectors, document_id.astype(np.int32), tuple(str(name) for name in document))


def save(path: Path, corpus: Corpus) -> None:
    """Write `corpus` to `path`, eight bits a value."""
    scale = np.abs(corpus.vectors).max(axis=1) / 127
    packed = np.rint(corpus.vectors / scale[:, None]).astype(np.int8)
    np.savez_compressed(
        path,
        vectors_int8=packed,
        scale=scale.astype(np.float32),
        document_id=corpus.document_id,
        document=np.array(corpus.documents),
    )


def split_every(corpus: Corpus, every: int = 8) -> Split:
    """Hold out every `every`-th document: all eras, no shift."""
    held_out = np.arange(len(corpus.documents)) % every == every - 1
    return Split(train=corpus.of_documents(~held_out), held_out=corpus.of_documents(held_out))
