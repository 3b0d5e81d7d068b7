"""Foreign texts and genres as further sets of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpora import corpus
from corpora.corpus import Corpus, CorpusError
from corpora.packed_corpus import open_corpus, save_packed
from service.manifest import sha256
from training import further_sets


def test_a_foreign_text_keeps_its_documents_or_is_cut(
    small: Corpus, small_file: Path, tmp_path: Path
) -> None:
    whole = further_sets.foreign(small_file)
    assert (whole.name, whole.digest) == ("small", sha256(small_file))
    assert whole.documents == small.documents
    one = tmp_path / "one.npz"
    with np.load(small_file) as archive:
        np.savez(one, vectors_int8=archive["vectors_int8"], scale=archive["scale"])
    cut = further_sets.foreign(one)
    assert len(cut.documents) == further_sets.PARTS
    assert np.bincount(cut.corpus.document_id).tolist() == [16] * further_sets.PARTS


def test_genres_are_sets_of_held_out_documents(small_file: Path, tmp_path: Path) -> None:
    packed = open_corpus(small_file)
    labelled = tmp_path / "labelled.npz"
    genres = tuple("law" if number == 7 else "books" for number in range(16))
    save_packed(
        labelled,
        type(packed)(
            packed.vectors_int8,
            packed.scale,
            packed.document_id,
            packed.documents,
            genres,
            ("",) * 16,
        ),
    )
    whole = corpus.load(labelled)
    found = further_sets.genres(labelled, whole, longest=10)
    assert [(one.name, one.documents) for one in found] == [
        ("eras: books", ("document 15",)),
        ("eras: law", ("document 7",)),
    ]
    assert further_sets.genres(labelled, whole, longest=20) == []
    assert further_sets.genres(small_file, corpus.load(small_file), longest=10) == []


def test_a_file_without_vectors_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "odd.npz", something=np.ones(3))
    with pytest.raises(CorpusError, match="no array"):
        further_sets.foreign(tmp_path / "odd.npz")
