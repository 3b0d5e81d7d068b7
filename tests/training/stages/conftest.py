"""A small corpus of three documents."""

from __future__ import annotations

import numpy as np
import pytest

from corpora.packed_corpus import PackedCorpus

LENGTHS = (30, 5, 25)


@pytest.fixture
def packed() -> PackedCorpus:
    rng = np.random.default_rng(0)
    total = sum(LENGTHS)
    return PackedCorpus(
        rng.integers(-127, 128, (total, 768)).astype(np.int8),
        np.ones(total, np.float32),
        np.repeat(np.arange(3), LENGTHS).astype(np.int32),
        ("long", "short", "medium"),
        ("books", "law", "law"),
        ("a", "b", "b"),
    )
