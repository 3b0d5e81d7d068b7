"""Ranks, Hit@K and pools, compared with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpora import candidate_pool, retrieval_metrics


def _unit(*angles: float) -> NDArray[np.float32]:
    """Unit vectors in the plane, from angles in degrees."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_ranks_count_the_candidates_at_least_as_near() -> None:
    """Candidate i is the target of prediction i."""
    candidates = _unit(0, 10, 90)
    predicted = _unit(1, 1, 40)
    assert [1, 2, 3] == retrieval_metrics.ranks(predicted, candidates).tolist()


def test_ties_count_against_the_prediction() -> None:
    """Equal candidates share the worst rank, so a constant prediction is last."""
    candidates = _unit(0, 0, 90)
    assert [2, 2, 1] == retrieval_metrics.ranks(candidates, candidates).tolist()
    same = _unit(5, 5, 5)
    assert [3, 3, 3] == retrieval_metrics.ranks(same, same).tolist()


def test_a_prediction_of_nan_is_last() -> None:
    """A broken model must not score."""
    predicted = np.full((3, 2), np.nan, np.float32)
    assert [3, 3, 3] == retrieval_metrics.ranks(predicted, _unit(0, 45, 90)).tolist()


@pytest.mark.parametrize(("k", "share"), [(1, 0.25), (2, 0.5), (5, 0.75), (9, 1.0)])
def test_hit_at_k_is_the_share_of_ranks_up_to_k(k: int, share: float) -> None:
    """Rank k counts as a hit."""
    assert share == retrieval_metrics.hit_at(np.array([1, 2, 5, 9]), k)


def test_a_pool_has_distinct_positions_with_a_context() -> None:
    """In ascending order from 1 on, the same for the same seed, with its parameters."""
    pool = candidate_pool.random_pool(50, 49, seed=3)
    assert list(range(1, 50)) == pool.targets.tolist()
    assert "49 random positions (seed 3)" == str(pool)
    assert 5 / 49 == pool.chance_hit_at_5
    first, second = candidate_pool.random_pool(900, 20, 1), candidate_pool.random_pool(900, 20, 1)
    assert first.targets.tolist() == second.targets.tolist()
    assert 20 == first.size == len(set(first.targets.tolist()))


@pytest.mark.parametrize("size", [0, -1, 50])
def test_an_impossible_pool_is_refused(size: int) -> None:
    """The first vector has no past and cannot be a target."""
    with pytest.raises(ValueError, match="choose from 1 to 49"):
        candidate_pool.random_pool(50, size, seed=0)


def test_a_contiguous_pool_is_one_span() -> None:
    """Anywhere in the stream, after the first vector."""
    pool = candidate_pool.draw_pool("contiguous", 50, 10, seed=2)
    assert [1] * 9 == np.diff(pool.targets).tolist()
    assert 1 <= pool.targets[0]
    assert pool.targets[-1] < 50
    whole = candidate_pool.draw_pool("contiguous", 50, 49, seed=2)
    assert list(range(1, 50)) == whole.targets.tolist()


def test_the_digest_identifies_a_pool() -> None:
    """It depends on the data, the rows, the kind and the positions, and on nothing else."""
    rows = np.arange(100, 150)
    pool = candidate_pool.random_pool(50, 20, seed=0)
    same = candidate_pool.random_pool(50, 20, seed=0).digest("data", rows)
    assert same == pool.digest("data", rows)
    others = {
        pool.digest("other data", rows),
        pool.digest("data", rows + 1),
        candidate_pool.random_pool(50, 20, seed=1).digest("data", rows),
        candidate_pool.random_pool(50, 19, seed=0).digest("data", rows),
        candidate_pool.CandidatePool(pool.targets, "contiguous", 0).digest("data", rows),
    }
    assert 5 == len(others - {same})


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 29))
def test_ranks_among_candidates_equal_a_count_by_hand(seed: int, size: int) -> None:
    """Whether the target is a candidate or replaces the last one."""
    rng = np.random.default_rng(seed)
    stream = rng.standard_normal((30, 8)).astype(np.float32)
    stream /= np.linalg.norm(stream, axis=1, keepdims=True)
    candidates = rng.permutation(np.arange(1, 30))[:size]
    targets = np.sort(rng.permutation(np.arange(1, 30))[:10])
    predicted = stream[targets - 1]
    ranked = retrieval_metrics.ranks_among(predicted, stream, targets, candidates)
    for row, target in enumerate(targets):
        others = [c for c in candidates if c != target]
        if target not in candidates:
            others = others[:-1]
        scores = stream[others] @ predicted[row] if others else np.zeros(0)
        assert 1 + (scores >= stream[target] @ predicted[row] - 1e-6).sum() == ranked[row]


def test_ranks_among_the_targets_equal_ranks() -> None:
    """The two functions agree if the pool consists of the targets."""
    rng = np.random.default_rng(0)
    stream = rng.standard_normal((40, 8)).astype(np.float32)
    stream /= np.linalg.norm(stream, axis=1, keepdims=True)
    targets = np.arange(5, 35)
    np.testing.assert_array_equal(
        retrieval_metrics.ranks(stream[targets - 1], stream[targets]),
        retrieval_metrics.ranks_among(stream[targets - 1], stream, targets, targets),
    )


def test_nan_is_last_among_any_candidates() -> None:
    """As in `ranks`."""
    stream = np.eye(6, dtype=np.float32)
    ranked = retrieval_metrics.ranks_among(
        np.full((2, 6), np.nan, np.float32), stream, np.array([1, 2]), np.array([1, 3, 4])
    )
    assert [3, 3] == ranked.tolist()
