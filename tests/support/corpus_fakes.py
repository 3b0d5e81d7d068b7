"""A small corpus of wandering unit vectors, in documents, and its fixtures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpora import corpus
from corpora.corpus import Corpus


def make_corpus(documents: int, length: int, dim: int = 768, seed: int = 0) -> Corpus:
    """Each document keeps to its theme, so that its past says something of its future."""
    rng = np.random.default_rng(seed)
    total = documents * length
    theme = np.repeat(rng.standard_normal((documents, dim)), length, axis=0)
    vectors = (theme + rng.standard_normal((total, dim))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = tuple(f"document {number}" for number in range(documents))
    return Corpus(vectors, np.repeat(np.arange(documents), length).astype(np.int32), names)


@pytest.fixture(scope="session")
def small() -> Corpus:
    """16 documents of 20 vectors: two of them are held out."""
    return make_corpus(16, 20)


@pytest.fixture
def small_file(small: Corpus, tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    corpus.save(path, small)
    return path
