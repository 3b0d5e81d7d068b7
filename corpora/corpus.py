"""A corpus: consecutive unit vectors in documents, stored as an `.npz` file.

Format: `vectors_int8` `[n, dim]` int8 and `scale` `[n]` float32 (a vector is
`normalise(vectors_int8 * scale)`), `document_id` `[n]` int32 ascending, and
`document` `[documents]` names. Optional: `genre` and `source`, `[documents]` each.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora import npz_mapping


class CorpusError(Exception):
    """The file is not a usable corpus; the message names the file and the fault."""


@dataclass(frozen=True)
class Corpus:
    """Vectors in reading order; `document_id` is the index of each vector's document."""

    vectors: NDArray[np.float32]
    document_id: NDArray[np.int32]
    documents: tuple[str, ...]

    def of_documents(self, chosen: NDArray[np.bool_]) -> Corpus:
        """The vectors of the `chosen` documents only, in reading order."""
        keep = chosen[self.document_id]
        return Corpus(self.vectors[keep], self.document_id[keep], self.documents)


@dataclass(frozen=True)
class CorpusSplit:
    """Training and held-out documents; no document is in both."""

    train: Corpus
    held_out: Corpus


def load(path: Path, dim: int = 768) -> Corpus:
    """Read the corpus in `path`. Raises `CorpusError`."""
    packed, scale, document_id, document = read_arrays(path)
    check_arrays(path, packed, scale, document_id, document, dim)
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = packed.astype(np.float32) * scale[:, None].astype(np.float32)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(length[:, 0]) & (length[:, 0] > 0) & (scale > 0)
    if bad := np.flatnonzero(~usable).tolist():
        raise CorpusError(f"{path}: row {bad[0]} is not a direction (zero, NaN or Inf)")
    return Corpus(
        vectors / length, document_id.astype(np.int32), tuple(str(name) for name in document)
    )


_ARRAYS = {
    "vectors_int8": (2, "i"),
    "scale": (1, "f"),
    "document_id": (1, "i"),
    "document": (1, "U"),
}
"""Name -> number of dimensions and kind of dtype."""


def check_arrays(
    path: Path,
    packed: NDArray[Any],
    scale: NDArray[Any],
    document_id: NDArray[Any],
    document: NDArray[Any],
    dim: int,
) -> None:
    """Raise `CorpusError` unless the arrays of `read_arrays` fit together."""
    if packed.shape[1] != dim:
        raise CorpusError(f"{path}: vectors_int8 has shape {list(packed.shape)}, not [n, {dim}]")
    if not len(packed) == len(scale) == len(document_id) > 0:
        raise CorpusError(
            f"{path}: vectors_int8, scale and document_id differ in length or are empty"
        )
    if (np.diff(document_id) < 0).any() or document_id[0] < 0 or document_id[-1] >= len(document):
        raise CorpusError(f"{path}: document_id is not ascending within 0..{len(document) - 1}")


def read_labels(path: Path, documents: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The genre and the source of each document; empty text where the file has none.

    Raises `CorpusError` if there is another number of them than `documents`.
    """
    labels = []
    with np.load(path, allow_pickle=False) as archive:
        for name in ("genre", "source"):
            values = archive[name] if name in archive.files else np.full(documents, "")
            if values.shape != (documents,) or values.dtype.kind != "U":
                raise CorpusError(
                    f"{path}: {name} needs one text for each of {documents} documents"
                )
            labels.append(tuple(map(str, values)))
    return labels[0], labels[1]


def read_arrays(path: Path, *, mapped: bool = False) -> list[NDArray[Any]]:
    """The archive's arrays, in the order of `_ARRAYS`; mapped where that is possible.

    Raises `CorpusError` if one is missing or of another kind.
    """
    try:
        # Opened here because NumPy leaves a damaged file open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise CorpusError(f"{path}: one array, not an .npz archive of several")
            if missing := sorted(_ARRAYS.keys() - set(archive.files)):
                raise CorpusError(f"{path}: no array {missing[0]}")
            arrays = [_array(path, archive, name, mapped=mapped) for name in _ARRAYS]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CorpusError(f"{path}: not a readable .npz file: {error}") from error
    for array, (name, (dimensions, kind)) in zip(arrays, _ARRAYS.items(), strict=True):
        if array.ndim != dimensions or array.dtype.kind != kind:
            raise CorpusError(
                f"{path}: {name} has shape {list(array.shape)} and type {array.dtype}, "
                f"not {dimensions} dimension(s) of kind {kind!r}"
            )
    return arrays


def _array(path: Path, archive: Any, name: str, *, mapped: bool) -> NDArray[Any]:
    found = npz_mapping.map_member(path, archive.zip, name) if mapped else None
    array: NDArray[Any] = archive[name] if found is None else found
    return array


def save(path: Path, corpus: Corpus) -> None:
    """Write `corpus` to `path` with eight bits a value."""
    scale = np.abs(corpus.vectors).max(axis=1) / 127
    packed = np.rint(corpus.vectors / scale[:, None]).astype(np.int8)
    np.savez_compressed(
        path,
        vectors_int8=packed,
        scale=scale.astype(np.float32),
        document_id=corpus.document_id,
        document=np.array(corpus.documents),
    )


def split_every(corpus: Corpus, every: int = 8) -> CorpusSplit:
    """Hold out every `every`-th document, so that both sides cover all eras."""
    held_out = np.arange(len(corpus.documents)) % every == every - 1
    return CorpusSplit(train=corpus.of_documents(~held_out), held_out=corpus.of_documents(held_out))
