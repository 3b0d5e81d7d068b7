"""Imports existing vectors from `.npy` and `.npz` files as documents."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.corpus import CorpusError

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class VectorDocument:
    """Consecutive unit vectors `[n, dim]`; `rescaled` counts those that had another length."""

    name: str
    vectors: Vectors
    rescaled: int

    @property
    def digest(self) -> str:
        """The SHA-256 of the vectors' bytes."""
        return hashlib.sha256(self.vectors.tobytes()).hexdigest()


def read(path: Path, dim: int = 768) -> list[VectorDocument]:
    """Read the documents in `path`. Raises `CorpusError`, naming the file and the row.

    - `.npy`: one document, `[n, dim]`.
    - `.npz` with `vectors` `[n, dim]` and, for several documents, an ascending `document_id`
      `[n]`.
    - `.npz` with `context_sequences` `[m, window, dim]` and `target_vectors` `[m, dim]`: each
      sequence with its target is a run of vectors. Overlapping runs, as of a sliding window, are
      joined; otherwise the same vectors could be both trained on and held out.
    """
    arrays = _arrays(path)
    if {"context_sequences", "target_vectors"} <= arrays.keys():
        return _runs(path, arrays["context_sequences"], arrays["target_vectors"], dim)
    if "vectors" not in arrays:
        have = ", ".join(sorted(arrays)) or "nothing"
        raise CorpusError(
            f"{path}: no array 'vectors', nor 'context_sequences' with 'target_vectors'; "
            f"it holds {have}"
        )
    vectors, rescaled = _unit(path, arrays["vectors"], dim)
    owner = arrays.get("document_id", np.zeros(len(vectors), np.int64))
    if owner.shape != (len(vectors),) or owner.dtype.kind not in "iu" or (np.diff(owner) < 0).any():
        raise CorpusError(f"{path}: document_id must be one ascending whole number a vector")
    starts = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(vectors)]
    several = len(starts) > 2
    return [
        VectorDocument(
            f"{path.stem}-{owner[low]}" if several else path.stem,
            vectors[low:high],
            int(rescaled[low:high].sum()),
        )
        for low, high in pairwise(starts)
    ]


def _runs(
    path: Path, contexts: NDArray[Any], targets: NDArray[Any], dim: int
) -> list[VectorDocument]:
    if contexts.ndim != 3 or targets.shape != (len(contexts), contexts.shape[2]):
        raise CorpusError(
            f"{path}: context_sequences {list(contexts.shape)} and target_vectors "
            f"{list(targets.shape)} do not belong together: [m, window, dim] and [m, dim] do"
        )
    rows = np.concatenate([contexts, targets[:, None]], axis=1)
    flat, rescaled = _unit(path, rows.reshape(-1, rows.shape[2]), dim)
    rows, off = flat.reshape(rows.shape), rescaled.reshape(rows.shape[:2])
    joined = list(_join(rows))
    return [
        VectorDocument(
            path.stem if len(joined) == 1 else f"{path.stem}-{first}",
            vectors,
            int(off[first : last + 1].any(axis=1).sum()),
        )
        for first, last, vectors in joined
    ]


def _join(rows: Vectors) -> Iterator[tuple[int, int, Vectors]]:
    """Join consecutive runs `[m, n, dim]` that overlap.

    Yields the numbers of the first and the last run, and their vectors without repetition.
    """
    first, run = 0, [rows[0]]
    for at in range(1, len(rows)):
        shift = _shift(rows[at - 1], rows[at])
        if shift is None:
            yield first, at - 1, np.concatenate(run)
            first, run = at, [rows[at]]
        else:
            run.append(rows[at][len(rows[at]) - shift :])
    yield first, len(rows) - 1, np.concatenate(run)


def _shift(before: Vectors, after: Vectors) -> int | None:
    """The offset at which `after` starts in `before` if they overlap exactly, else None."""
    for shift in np.flatnonzero((before == after[0]).all(axis=1)).tolist():
        if np.array_equal(before[shift:], after[: len(after) - shift]):
            return int(shift)
    return None


def _unit(path: Path, raw: NDArray[Any], dim: int) -> tuple[Vectors, NDArray[np.bool_]]:
    """Normalise the vectors; returns them and a mask of those that had another length."""
    if raw.ndim != 2 or raw.shape[1] != dim or raw.dtype.kind != "f" or not len(raw):
        raise CorpusError(
            f"{path}: vectors of shape {list(raw.shape)} and type {raw.dtype}, "
            f"not floating point [n, {dim}]; --dim names another width"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    usable = np.isfinite(length[:, 0]) & (length[:, 0] > 0)
    if not usable.all():
        row = int(np.argmin(usable))
        raise CorpusError(f"{path}: row {row} is not a direction (zero, NaN or Inf)")
    return (raw / length).astype(np.float32), np.abs(length[:, 0] - 1) > 1e-2


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                return {name: loaded[name] for name in loaded.files}
            return {"vectors": loaded}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CorpusError(f"{path}: not a readable .npy or .npz file: {error}") from error
