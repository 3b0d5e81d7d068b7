"""Ranks, Hit@K and intervals, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training import metrics


def _unit(*angles: float) -> NDArray[np.float32]:
    """Unit vectors in the plane, in degrees."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_ranks_count_the_candidates_at_least_as_near() -> None:
    """Candidate i is prediction i's own."""
    candidates = _unit(0, 10, 90)
    predicted = _unit(1, 1, 40)
    assert [1, 2, 3] == metrics.ranks(predicted, candidates).tolist()


def test_ties_count_against_the_prediction() -> None:
    """Two candidates alike share the worse rank; a constant answer to all alike is last."""
    candidates = _unit(0, 0, 90)
    assert [2, 2, 1] == metrics.ranks(candidates, candidates).tolist()
    same = _unit(5, 5, 5)
    assert [3, 3, 3] == metrics.ranks(same, same).tolist()


def test_an_answer_of_nan_is_last() -> None:
    """A broken model must not score."""
    predicted = np.full((3, 2), np.nan, np.float32)
    assert [3, 3, 3] == metrics.ranks(predicted, _unit(0, 45, 90)).tolist()


@pytest.mark.parametrize(("k", "share"), [(1, 0.25), (2, 0.5), (5, 0.75), (9, 1.0)])
def test_hit_at_k_is_the_share_of_ranks_up_to_k(k: int, share: float) -> None:
    """The k-th itself counts."""
    assert share == metrics.hit_at(np.array([1, 2, 5, 9]), k)


def test_a_pool_is_distinct_positions_with_a_past() -> None:
    """Ascending, from 1 on, the same for the same seed, and it says what it is."""
    pool = metrics.random_pool(50, 49, seed=3)
    assert list(range(1, 50)) == pool.targets.tolist()
    assert "49 random positions" == pool.kind
    first, second = metrics.random_pool(900, 20, 1), metrics.random_pool(900, 20, 1)
    assert first.targets.tolist() == second.targets.tolist()
    assert 20 == first.size == len(set(first.targets.tolist()))


@pytest.mark.parametrize("size", [0, -1, 50])
def test_an_impossible_pool_is_refused(size: int) -> None:
    """The first vector has no past and cannot be a target."""
    with pytest.raises(ValueError, match="choose from 1 to 49"):
        metrics.random_pool(50, size, seed=0)


def test_one_document_gives_no_width() -> None:
    """Resampling one document gives the same mean each time."""
    values = np.array([0.0, 1.0, 1.0, 0.0])
    interval = metrics.interval_by_document(values, np.zeros(4, np.int32))
    assert (0.5, 0.5) == interval


def test_the_interval_is_the_documents_spread() -> None:
    """Two documents, all hits and none: means of 0, 1/2 and 1 with odds 1:2:1."""
    values = np.repeat([0.0, 1.0], 50)
    document = np.repeat([3, 8], 50).astype(np.int32)
    assert (0.0, 1.0) == metrics.interval_by_document(values, document)


def test_the_interval_is_wider_than_one_by_position() -> None:
    """Positions of a document are alike, and 40 documents are 40 draws, not 2,000."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(40), 50)
    by_document = metrics.interval_by_document(values, np.repeat(np.arange(40), 50).astype("i4"))
    by_position = metrics.interval_by_document(values, np.arange(2000).astype("i4"))
    assert 4 * (by_position[1] - by_position[0]) < by_document[1] - by_document[0]
    assert by_document[0] < values.mean() < by_document[1]
