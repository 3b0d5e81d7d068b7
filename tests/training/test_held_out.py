"""Two held-out sets, and nothing of them in training, under any name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from corpora.corpus import Corpus, CorpusError
from training import held_out


def _named(corpus: Corpus, first: int) -> Corpus:
    names = tuple(f"{first + number}-Speaker-1" for number in range(len(corpus.documents)))
    return replace(corpus, documents=names)


def test_the_sets_are_every_eighth_and_the_latest(small: Corpus) -> None:
    """By the year in the name; rows are positions in the whole corpus."""
    dated = _named(small, 1987)
    eras, latest = held_out.sets(dated)
    assert ("1994-Speaker-1", "2002-Speaker-1") == eras.documents
    assert tuple(f"{year}-Speaker-1" for year in range(1999, 2003)) == latest.documents
    assert "every document from 1999-Speaker-1 on" == latest.description
    for one in (eras, latest):
        np.testing.assert_array_equal(dated.vectors[one.rows], one.corpus.vectors)


@pytest.mark.parametrize("first", [1700, 2000, None])
def test_without_telling_years_the_latest_are_the_last_eighth(
    small: Corpus, first: int | None
) -> None:
    """All old, all new, or no years in the names."""
    _, latest = held_out.sets(small if first is None else _named(small, first))
    assert list(range(280, 320)) == latest.rows.tolist()


@pytest.mark.parametrize(
    ("hold_out", "expected"),
    [("eras", {7, 15}), ("latest", {14, 15}), ("both", {7, 14, 15})],
)
def test_a_split_holds_whole_documents_out(
    small: Corpus, hold_out: held_out.HoldOut, expected: set[int]
) -> None:
    """No document is on both sides, and none is lost."""
    split = held_out.split(small, hold_out)
    assert expected == set(split.held_out.document_id.tolist())
    assert set(range(16)) - expected == set(split.train.document_id.tolist())


def test_a_copy_under_another_name_is_refused(small: Corpus) -> None:
    """Both documents are named, and how much they share."""
    vectors = small.vectors.copy()
    vectors[7 * 20 : 8 * 20 - 4] = vectors[3 * 20 : 4 * 20 - 4]
    with pytest.raises(CorpusError, match=r"document 7 shares 16 of its 20 .* with document 3"):
        held_out.split(replace(small, vectors=vectors), "eras")


def test_phrases_that_recur_are_no_copy(small: Corpus) -> None:
    """Up to half of a document's vectors may occur elsewhere."""
    vectors = small.vectors.copy()
    vectors[7 * 20 : 7 * 20 + 10] = vectors[3 * 20 : 3 * 20 + 10]
    held_out.split(replace(small, vectors=vectors), "eras")


def test_one_name_for_two_documents_is_refused(small: Corpus) -> None:
    """Two documents with one name could not be told apart in a checkpoint's list."""
    names = (*small.documents[:7], "document 2", *small.documents[8:])
    with pytest.raises(CorpusError, match="document 2 is both held out and trained on"):
        held_out.split(replace(small, documents=names), "eras")


def test_a_checkpoint_names_its_training_documents(small: Corpus) -> None:
    """The list says which documents of a set the model has seen."""
    train = held_out.split(small, "eras").train
    trained = held_out.training_documents(held_out.metadata(train, "eras", "digest"))
    assert ("document 14",) == held_out.find_seen(trained, ("document 14", "document 15"))
    assert () == held_out.find_seen(trained, ("document 7",))
    assert held_out.find_seen(held_out.training_documents({}), ("document 7",)) is None


def test_what_the_start_was_trained_on_counts(small: Corpus) -> None:
    """A start without a list makes the list unknown; one that saw the set is refused."""
    eras, latest = held_out.split(small, "eras"), held_out.split(small, "latest")
    start = held_out.metadata(eras.train, "eras", "digest")
    after = held_out.metadata(latest.train, "latest", "digest", start)
    trained = held_out.training_documents(after)
    assert trained is not None
    assert set(small.documents) - {"document 15"} == trained
    assert held_out.training_documents(held_out.metadata(eras.train, "eras", "digest", {})) is None
    with pytest.raises(CorpusError, match="trained on 1 of the held-out documents, document 14"):
        held_out.check_start(start, latest.held_out)
    held_out.check_start(start, eras.held_out)


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_a_list_of_documents_that_is_none_is_refused(text: str) -> None:
    """It is not mistaken for a model that has seen nothing."""
    with pytest.raises(CorpusError, match="trained_documents is not"):
        held_out.training_documents({held_out.DOCUMENTS: text})
