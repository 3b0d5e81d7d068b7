"""Counts and their percentiles."""

from __future__ import annotations

from service.rollout.analysis.counters import Counts, KeyCounts, percentile
from service.types import SHARES
from tests.support.rollout_fakes import EDGES, bucket_counts


def test_counts_that_went_down_restarted_from_zero():
    assert Counts((1, 0), 2) == Counts((3, 4), 5).since(Counts((2, 4), 3))
    assert Counts((3, 4), 0) == Counts((3, 4), 0).since(Counts((2, 4), 3))
    assert Counts((1, 4), 5) == Counts((1, 4), 5).since(Counts((2, 4), 3))


def test_requests_slower_than_an_edge_include_the_failed_ones():
    assert 3 + 4 + 7 == Counts((1, 2, 3, 4), 7).slower_than(1)


def test_keys_have_a_mean_share_of_hits():
    assert KeyCounts().mean is None
    half = KeyCounts(tuple(int(share in {0.0, 1.0}) for share in SHARES))
    assert (2, 0.5) == (half.total, half.mean)


def test_the_percentile_lies_in_its_bucket_or_is_none():
    assert percentile(bucket_counts([]), EDGES, 0.95) is None
    assert percentile(bucket_counts([100.0]), EDGES, 0.95) is None
    assert percentile(bucket_counts([], faults=5), EDGES, 0.95) is None
    assert EDGES[0] == percentile(bucket_counts([0.000_01]), EDGES, 0.95)
    found = percentile(bucket_counts([0.1] * 100), EDGES, 0.95)
    assert 0.1 / 1.1 < found < 0.1 * 1.1
