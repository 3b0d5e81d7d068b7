"""Ranks among the last vectors of other sessions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.quality.distractor_pool import DISTRACTORS, POOL_SIZE, ROUNDING, DistractorPool
from tests.support.fakes import unit_vectors

DIM = 16


def filled(count, owners=None, seed=1):
    """A pool of `count` vectors, the vectors and their owners (all different by default)."""
    pool = DistractorPool(DIM)
    vectors = unit_vectors(count, seed, DIM)
    owners = np.arange(count) if owners is None else np.asarray(owners)
    pool.add(vectors, owners)
    return pool, vectors, owners


def rank(pool, predicted, truth, owner=-1):
    _, ranks = pool.ranks(predicted[None], truth[None], np.array([owner]))
    return int(ranks[0])


def by_hand(vectors, owners, predicted, truth, owner):
    """The rank by its definition, one prediction at a time."""
    others = [v for v, o in zip(vectors, owners, strict=True) if o != owner][-DISTRACTORS:]
    if len(others) < DISTRACTORS:
        return 0
    return 1 + sum(float(v @ predicted) > float(truth @ predicted) + ROUNDING for v in others)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(DISTRACTORS - 5, 3 * POOL_SIZE),
    st.integers(1, 6),
    st.integers(1, 11),
)
def test_ranks_are_as_defined(seed, count, sessions, asked):
    """For any number of vectors, sessions and predictions."""
    rng = np.random.default_rng(seed)
    pool, vectors, owners = filled(count, rng.integers(0, sessions, count), seed % 1000)
    vectors, owners = vectors[-POOL_SIZE:], owners[-POOL_SIZE:]
    predicted, truths = unit_vectors(asked, 7, DIM), unit_vectors(asked, 8, DIM)
    own = rng.integers(0, sessions, asked)
    cosines, ranks = pool.ranks(predicted, truths, own)
    np.testing.assert_allclose(np.sum(predicted * truths, axis=1), cosines, atol=1e-6)
    expected = [
        by_hand(vectors, owners, p, t, o) for p, t, o in zip(predicted, truths, own, strict=True)
    ]
    assert expected == ranks.tolist()


def test_the_same_vector_of_another_session_does_not_count_against_the_true_one():
    """For any rounding: two sessions may read one text, or one stream may be sent twice."""
    pool, owners = DistractorPool(768), np.arange(DISTRACTORS)
    truths, predicted = unit_vectors(DISTRACTORS, 2, 768), unit_vectors(DISTRACTORS, 3, 768)
    pool.add(truths, owners)
    expected = [by_hand(truths, owners, p, t, -1) for p, t in zip(predicted, truths, strict=True)]
    _, ranks = pool.ranks(predicted, truths, np.full(DISTRACTORS, -1))
    assert expected == ranks.tolist()


def test_a_perfect_prediction_is_first():
    pool, _, _ = filled(DISTRACTORS)
    truth = unit_vectors(1, 5, DIM)[0]
    assert rank(pool, truth, truth) == 1


def test_the_same_vector_elsewhere_does_not_count_against_it():
    """Two sessions may read the same text."""
    pool, vectors, _ = filled(DISTRACTORS)
    assert rank(pool, vectors[3], vectors[3]) == 1


@pytest.mark.parametrize(("count", "expected"), [(DISTRACTORS - 1, 0), (DISTRACTORS, 1)])
def test_nothing_is_ranked_until_the_pool_is_full(count, expected):
    """Among fewer vectors a hit would be easier."""
    pool, _, _ = filled(count)
    truth = unit_vectors(1, 5, DIM)[0]
    assert expected == rank(pool, truth, truth)


def test_a_sessions_own_vectors_are_no_distractors():
    """So a single session is never ranked."""
    pool, vectors, _ = filled(POOL_SIZE, [7] * POOL_SIZE)
    assert rank(pool, vectors[0], vectors[1], owner=7) == 0
    assert rank(pool, vectors[0], vectors[0], owner=8) == 1


def test_new_vectors_replace_the_oldest():
    """In whatever pieces they come."""
    pool, _, _ = filled(POOL_SIZE)
    newer = unit_vectors(POOL_SIZE + 30, 2, DIM)
    for start in range(0, len(newer), 50):
        part = newer[start : start + 50]
        pool.add(part, np.full(len(part), 1))
    np.testing.assert_array_equal(np.sort(newer[-POOL_SIZE:], axis=0), np.sort(pool._rows, axis=0))
