"""The split: the same everywhere, nested as it grows, and fair."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import NotFound
from service.rollout.routing.traffic_split import (
    BASIS_POINTS,
    Route,
    TrafficRouter,
    TrafficSplit,
    bucket,
)
from service.types import Variant

weights = st.integers(0, BASIS_POINTS)


def no_draw() -> str:
    raise AssertionError("a key was there")


@given(st.text(), st.text())
def test_a_bucket_is_within_its_range(salt, key):
    assert 0 <= bucket(salt, key) < BASIS_POINTS


def test_a_bucket_is_the_same_in_every_process():
    """Literals, because a change would move every caller of every running rollout."""
    assert [5449, 4622, 945] == [bucket("s", "a"), bucket("s", "b"), bucket("t", "a")]
    code = "from service.rollout.routing.traffic_split import bucket; print(bucket('s', 'a'))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert b"5449" == answer.stdout.strip()


@given(st.text(), weights, weights)
def test_a_ramp_only_adds_keys(key, one, other):
    """A key on the canary at one weight is on it at every higher weight."""
    low, high = sorted((one, other))
    before = TrafficSplit("a", "b", low, "salt").route(key, None, no_draw)
    after = TrafficSplit("a", "b", high, "salt").route(key, None, no_draw)
    assert before.variant is Variant.STABLE or after.variant is Variant.CANARY


@pytest.mark.parametrize("weight", [100, 500, 2500, 5000])
def test_the_share_is_the_weight(weight):
    split = TrafficSplit("a", "b", weight, "salt")
    hits = sum(split.route(str(i), None, no_draw).variant is Variant.CANARY for i in range(20_000))
    expected = 20_000 * weight / BASIS_POINTS
    assert abs(hits - expected) < 5 * (expected * (1 - weight / BASIS_POINTS)) ** 0.5


def test_another_salt_chooses_other_callers():
    """No caller is in the first five per cent of every rollout."""
    keys = [str(i) for i in range(2000)]
    one = {k for k in keys if bucket("one", k) < 500}
    two = {k for k in keys if bucket("two", k) < 500}
    assert len(one & two) < 25


def test_without_a_key_one_is_drawn():
    keys = iter(str(i) for i in range(1000))
    split = TrafficSplit("a", "b", 5000, "salt")
    variants = {split.route(None, None, lambda: next(keys)).variant for _ in range(50)}
    assert {Variant.STABLE, Variant.CANARY} == variants


@pytest.mark.parametrize(
    ("weight", "variant"), [(0, Variant.STABLE), (BASIS_POINTS, Variant.CANARY)]
)
@given(key=st.text())
def test_0_and_100_percent_are_exact(weight, variant, key):
    assert variant is TrafficSplit("a", "b", weight, "s").route(key, None, no_draw).variant


def test_an_override_is_served_and_not_counted_as_assigned():
    split = TrafficSplit("a", "b", 0, "s")
    assert Route(Variant.CANARY, "b", assigned=False) == split.route("k", Variant.CANARY, no_draw)
    assert Route(Variant.STABLE, "a", assigned=False) == split.route("k", Variant.STABLE, no_draw)
    with pytest.raises(NotFound):
        TrafficSplit("a").route("k", Variant.CANARY, no_draw)


@pytest.mark.parametrize(("canary", "weight"), [("b", -1), ("b", 10_001), (None, 1)])
def test_an_impossible_split_is_refused(canary, weight):
    with pytest.raises(ValueError, match="weight_bp"):
        TrafficSplit("a", canary, weight)


def test_the_router_returns_the_split_that_was_set():
    traffic = TrafficRouter(TrafficSplit("a"))
    traffic.set(TrafficSplit("b"))
    assert TrafficSplit("b") == traffic.current
