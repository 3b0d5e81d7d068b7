"""Parts of a corpus that are trained on, validated on and held out."""

from __future__ import annotations

import numpy as np
import pytest

from corpora.corpus import CorpusError
from corpora.packed_corpus import PackedCorpus
from training.stages.split import split


def test_a_genre_or_a_source_is_left_out_as_a_whole(packed: PackedCorpus) -> None:
    many = PackedCorpus(
        packed.vectors_int8,
        packed.scale,
        np.repeat(np.arange(30), 2).astype(np.int32),
        tuple(f"document {number}" for number in range(30)),
        ("books", "law", "letters") * 10,
        ("a", "b", "c") * 10,
    )
    parts = split(many, "eras", ["law"], ["c"])
    assert set(parts.train.genres) == {"books"}
    assert [(one.name, one.familiar) for one in parts.validation] == [
        ("validation", True),
        ("c", False),
    ]
    assert parts.held_out.sum() == 3 + 10 - 1  # every eighth, all of law, one of them in both
    with pytest.raises(CorpusError, match=r"genre or source 'verse'; genres: books, law, letters"):
        split(many, "eras", ["verse"])
    with pytest.raises(CorpusError, match="no document is left to train on"):
        split(many, "eras", ["books", "law", "letters"])


def test_a_copy_of_a_held_out_document_is_refused(packed: PackedCorpus) -> None:
    copied = packed.vectors_int8[np.tile(np.arange(5), 16)]
    twins = PackedCorpus(
        copied,
        np.ones(80, np.float32),
        np.repeat(np.arange(16), 5).astype(np.int32),
        tuple(f"document {number}" for number in range(16)),
        ("",) * 16,
        ("",) * 16,
    )
    with pytest.raises(CorpusError, match="shares 5 of its 5 vectors with training documents"):
        split(twins, "eras")
