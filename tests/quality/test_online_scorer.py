"""Scores from predictions and their true vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.quality.key_shares import IDLE_SECONDS
from service.quality.online_scorer import BATCH, MAX_WAITING
from service.types import KEY_SAMPLE, Variant
from tests.support.fakes import FakeClock, unit_vectors
from tests.support.quality_fakes import ALL_STABLE, SPLIT, ScorerFixture, prediction


@pytest.fixture
def clock():
    return FakeClock()


def test_a_hit_is_counted_for_its_variant(clock):
    """With every k, the number of ranked predictions, and the cosine."""
    scoring = ScorerFixture(clock)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(truth, truth, variant=Variant.CANARY)
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_predictions_total", variant="canary") == 1
    for k in ("1", "5", "10"):
        assert scoring.count("nextvec_online_hits_total", variant="canary", k=k) == 1
    assert scoring.count("nextvec_online_cosine_sum", variant="canary") == pytest.approx(1)


def test_a_miss_is_ranked_but_no_hit(clock):
    scoring = ScorerFixture(clock)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(-truth, truth, variant=Variant.CANARY)
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_predictions_total", variant="canary") == 1
    assert scoring.count("nextvec_online_hits_total", variant="canary", k="10") is None
    assert scoring.count("nextvec_online_cosine_sum", variant="canary") == 0


def test_the_length_of_the_true_vector_does_not_matter(clock):
    """Callers' vectors need not be of unit length."""
    scoring = ScorerFixture(clock)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(truth, 1000 * truth, variant=Variant.CANARY)
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_cosine_sum", variant="canary") == pytest.approx(1)


def test_until_the_pool_is_full_only_cosines_are_counted(clock):
    scoring = ScorerFixture(clock, full=False)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(truth, truth)
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_cosine_count", variant="stable") == 1
    assert scoring.count("nextvec_online_predictions_total", variant="stable") is None


def test_a_key_is_counted_once_by_its_share_of_hits(clock):
    scoring = ScorerFixture(clock)
    truth = unit_vectors(1, seed=5)[0]
    for i in range(5 * KEY_SAMPLE):
        scoring.offer(truth if i % 2 else -truth, truth)
    scoring.scorer.drain()
    assert (1, 0.5) == scoring.shares()


def test_an_idle_key_is_counted(clock):
    scoring = ScorerFixture(clock)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(truth, truth)
    scoring.scorer.drain()
    assert (None, None) == scoring.shares()
    clock.advance(IDLE_SECONDS)
    scoring.scorer.drain()
    assert (1, 1.0) == scoring.shares()


def test_without_a_rollout_no_key_is_counted(clock):
    """There is nothing to compare with. Hits are still counted."""
    scoring = ScorerFixture(clock)
    truth = unit_vectors(1, seed=5)[0]
    for _ in range(2 * KEY_SAMPLE):
        scoring.offer(truth, truth, split=ALL_STABLE)
    scoring.scorer.drain()
    assert (None, None) == scoring.shares()


def test_a_prediction_of_an_earlier_split_does_not_count_for_its_key(clock):
    """The key may belong to the other variant by now."""
    scoring = ScorerFixture(clock)
    truth = unit_vectors(1, seed=5)[0]
    for _ in range(2 * KEY_SAMPLE):
        scoring.scorer.offer(prediction(truth, split=SPLIT), truth, ALL_STABLE)
    scoring.scorer.drain()
    assert (None, None) == scoring.shares()


def test_a_prediction_scored_after_the_split_changed_does_not_count_for_its_key(clock):
    """It waited in the queue; the new rollout must begin without keys."""
    scoring = ScorerFixture(clock)
    truth = unit_vectors(1, seed=5)[0]
    for _ in range(2 * KEY_SAMPLE):
        scoring.offer(truth, truth)
    scoring.traffic.set(replace(SPLIT, salt="the next rollout's"))
    scoring.scorer.drain()
    clock.advance(2 * IDLE_SECONDS)
    scoring.scorer.drain()
    assert (None, None) == scoring.shares()


def test_predictions_over_the_limit_are_dropped_and_counted(clock):
    scoring = ScorerFixture(clock, full=False)
    truth = unit_vectors(1, seed=5)[0]
    taken = [scoring.offer(truth, truth, key=f"k{i}") for i in range(MAX_WAITING + 3)]
    assert [True] * MAX_WAITING + [False] * 3 == taken
    assert scoring.count("nextvec_online_dropped_total") == 3
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_cosine_count", variant="stable") == MAX_WAITING
    assert scoring.offer(truth, truth)


def test_a_waiting_prediction_does_not_hold_the_body(clock):
    """The true vector is a view of a body that may take megabytes."""
    scoring = ScorerFixture(clock, full=False)
    body = unit_vectors(3 * BATCH)
    scoring.offer(body[0], body[1])
    body[:] = np.nan
    scored = scoring.scorer._queue[0]
    assert scored.truth.base is None
    assert np.isfinite(scored.truth).all()
