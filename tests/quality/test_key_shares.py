"""Each key counts once under each split."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.quality import key_shares as keys
from service.quality.key_shares import IDLE_SECONDS, KeyShare, KeyShares
from service.types import KEY_SAMPLE, Variant
from tests.support.quality_fakes import SPLIT


def count(shares, key, hit, *, split=SPLIT, now=0.0, last=False):
    return shares.count(split, key, Variant.CANARY, "phase-3", now, hit=hit, last=last)


def test_a_key_is_complete_after_its_first_predictions():
    shares = KeyShares()
    results = [count(shares, "a", hit=i < 3) for i in range(KEY_SAMPLE)]
    assert [None] * (KEY_SAMPLE - 1) == results[:-1]
    assert KeyShare(Variant.CANARY, "phase-3", 3 / KEY_SAMPLE) == results[-1]


def test_a_key_that_sends_more_does_not_weigh_more():
    shares = KeyShares()
    results = [count(shares, "heavy", hit=False) for _ in range(1000)]
    assert 1 == sum(share is not None for share in results)


def test_an_idle_key_is_closed_with_what_it_has():
    shares = KeyShares()
    count(shares, "a", hit=True, now=0)
    count(shares, "b", hit=True, now=1)
    count(shares, "a", hit=False, now=2)
    assert [] == list(shares.close_idle(SPLIT, IDLE_SECONDS))
    assert [1.0] == [share.share for share in shares.close_idle(SPLIT, IDLE_SECONDS + 1)]
    assert [0.5] == [share.share for share in shares.close_idle(SPLIT, IDLE_SECONDS + 2)]
    assert count(shares, "a", hit=True, now=200, last=True) is None


def test_a_key_drawn_for_one_prediction_is_complete_at_once():
    assert KeyShare(Variant.CANARY, "phase-3", 1.0) == count(
        KeyShares(), "once", hit=True, last=True
    )


def test_a_new_split_starts_all_keys_over():
    """Keys that stay must be compared with keys that move over the same time."""
    shares = KeyShares()
    for _ in range(KEY_SAMPLE):
        count(shares, "done", hit=True)
    count(shares, "half", hit=True)
    raised = replace(SPLIT, weight_bp=6000)
    assert count(shares, "done", hit=False, split=raised, last=True) is not None
    assert [] == [s for s in shares.close_idle(raised, 1e9) if s.share]


def test_idle_keys_of_an_earlier_split_are_dropped():
    """Otherwise a new rollout without traffic would begin with the last one's keys."""
    shares = KeyShares()
    count(shares, "a", hit=True)
    assert [] == list(shares.close_idle(replace(SPLIT, salt="the next rollout's"), 1e9))
    assert [] == list(shares.close_idle(SPLIT, 1e9))


def test_an_equal_split_changes_nothing():
    """A pause sets the same split again."""
    shares = KeyShares()
    count(shares, "a", hit=True)
    assert count(shares, "a", hit=False, split=replace(SPLIT), last=True).share == 0.5


@pytest.mark.parametrize("sent", [1, 3])
def test_memory_is_bounded(monkeypatch, sent):
    """With too many keys, the least recently used are closed early."""
    monkeypatch.setattr(keys, "MAX_OPEN", 10)
    monkeypatch.setattr(keys, "MAX_CLOSED", 20)
    shares = KeyShares()
    for i in range(100):
        for _ in range(sent):
            count(shares, f"key-{i}", hit=True)
        list(shares.close_idle(SPLIT, 0.0))
    assert len(shares._open) <= 10
    assert len(shares._closed) <= 20
