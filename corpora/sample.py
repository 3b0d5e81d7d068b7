"""The shipped sample, and the vectors of any file in its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpora.corpus import CorpusError

SAMPLE = Path(__file__).parent / "data" / "sample.npz"
"""Held-out documents of the corpus: no shipped version was trained on them."""


def load_vectors(path: Path = SAMPLE) -> NDArray[np.float32]:
    """Read the vectors of an `.npz` of `vectors_int8` `[n, dim]` and `scale` `[n]`.

    Returns float32 `[n, dim]` of unit length, contiguous and little-endian. Needs no
    documents, unlike `corpus.load`. Raises `CorpusError`.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            quantised, scale = data["vectors_int8"], data["scale"]
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file; name another with --data") from error
    except KeyError as error:
        raise CorpusError(f"{path}: no array {error}; needs vectors_int8 and scale") from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: not a readable .npz file: {error}") from error
    if quantised.ndim != 2 or scale.shape != quantised.shape[:1] or len(scale) == 0:
        raise CorpusError(
            f"{path}: vectors_int8 {list(quantised.shape)} and scale {list(scale.shape)} "
            "do not fit; needs [n, dim] and [n], n > 0"
        )
    rows = quantised.astype(np.float32) * scale.astype(np.float32)[:, None]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise CorpusError(f"{path}: a row is zero or not finite")
    return np.ascontiguousarray(rows / norms, dtype="<f4")
