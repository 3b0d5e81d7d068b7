"""From a prediction and its truth to the counts."""

from __future__ import annotations

import numpy as np
import pytest

from service.quality.key_shares import IDLE_SECONDS
from service.quality.online_scorer import BATCH, MAX_WAITING
from service.types import KEY_SAMPLE, Variant
from tests.support.fakes import FakeClock, unit_vectors
from tests.support.quality_fakes import ALL_STABLE, SPLIT, Scoring, prediction


@pytest.fixture
def clock():
    return FakeClock()


def test_a_hit_is_counted_for_its_variant(clock):
    """At every k, beside how many were ranked, and the cosine."""
    scoring = Scoring(clock)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(truth, truth, variant=Variant.CANARY)
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_predictions_total", variant="canary") == 1
    for k in ("1", "5", "10"):
        assert scoring.count("nextvec_online_hits_total", variant="canary", k=k) == 1
    assert scoring.count("nextvec_online_cosine_sum", variant="canary") == pytest.approx(1)


def test_a_miss_is_ranked_and_no_hit(clock):
    scoring = Scoring(clock)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(-truth, truth, variant=Variant.CANARY)
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_predictions_total", variant="canary") == 1
    assert scoring.count("nextvec_online_hits_total", variant="canary", k="10") is None
    assert scoring.count("nextvec_online_cosine_sum", variant="canary") == 0


def test_the_length_of_what_came_does_not_matter(clock):
    """Callers' vectors need not be of unit length."""
    scoring = Scoring(clock)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(truth, 1000 * truth, variant=Variant.CANARY)
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_cosine_sum", variant="canary") == pytest.approx(1)


def test_until_the_pool_is_full_only_cosines_are_counted(clock):
    scoring = Scoring(clock, full=False)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(truth, truth)
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_cosine_count", variant="stable") == 1
    assert scoring.count("nextvec_online_predictions_total", variant="stable") is None


def test_a_key_is_counted_once_by_its_share_of_hits(clock):
    scoring = Scoring(clock)
    truth = unit_vectors(1, seed=5)[0]
    for i in range(5 * KEY_SAMPLE):
        scoring.offer(truth if i % 2 else -truth, truth)
    scoring.scorer.drain()
    assert (1, 0.5) == scoring.shares()


def test_a_key_that_goes_quiet_is_counted(clock):
    scoring = Scoring(clock)
    truth = unit_vectors(1, seed=5)[0]
    scoring.offer(truth, truth)
    scoring.scorer.drain()
    assert (None, None) == scoring.shares()
    clock.advance(IDLE_SECONDS)
    scoring.scorer.drain()
    assert (1, 1.0) == scoring.shares()


def test_without_a_rollout_no_key_is_counted(clock):
    """There is nothing to compare with; hits are counted all the same."""
    scoring = Scoring(clock)
    truth = unit_vectors(1, seed=5)[0]
    for _ in range(2 * KEY_SAMPLE):
        scoring.offer(truth, truth, split=ALL_STABLE)
    scoring.scorer.drain()
    assert (None, None) == scoring.shares()


def test_a_prediction_of_an_earlier_split_is_not_the_keys_say(clock):
    """Made by one variant, heard when the key may be the other's."""
    scoring = Scoring(clock)
    truth = unit_vectors(1, seed=5)[0]
    for _ in range(2 * KEY_SAMPLE):
        scoring.scorer.offer(prediction(truth, split=SPLIT), truth, ALL_STABLE)
    scoring.scorer.drain()
    assert (None, None) == scoring.shares()


def test_more_than_can_wait_is_dropped_and_counted(clock):
    scoring = Scoring(clock, full=False)
    truth = unit_vectors(1, seed=5)[0]
    taken = [scoring.offer(truth, truth, key=f"k{i}") for i in range(MAX_WAITING + 3)]
    assert [True] * MAX_WAITING + [False] * 3 == taken
    assert scoring.count("nextvec_online_dropped_total") == 3
    scoring.scorer.drain()
    assert scoring.count("nextvec_online_cosine_count", variant="stable") == MAX_WAITING
    assert scoring.offer(truth, truth)


def test_what_waits_holds_no_body(clock):
    """The vector is one of a body that may be megabytes."""
    scoring = Scoring(clock, full=False)
    body = unit_vectors(3 * BATCH)
    scoring.offer(body[0], body[1])
    body[:] = np.nan
    scored = scoring.scorer._queue[0]
    assert scored.truth.base is None
    assert np.isfinite(scored.truth).all()
