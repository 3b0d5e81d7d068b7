"""Histograms, held to what the library's own would count and write."""

from __future__ import annotations

import math

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from service import histogram
from service.histogram import Histogram
from service.metrics import new_registry

EDGES = (0.0, 0.001, 0.1, 1 / 3, 2.5, 1e9)
NOW = 1_764_000_000.5
TRACE = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
LABEL_VALUES = ["plain", 'quo"ted', "back\\slash", "new\nline", "ü", ""]
VALUES = st.sampled_from(EDGES) | st.floats(0, math.inf, exclude_max=True)


class Pair:
    """Our histogram and the library's, each in a registry of its own."""

    def __init__(self, monkeypatch):
        # Both read the time of an exemplar from here.
        monkeypatch.setattr(histogram.time, "time", lambda: NOW)
        self.registries = new_registry(), new_registry()
        given = "h_seconds", 'A "quoted" text,\nand a back\\slash.', ("z", "a")
        ours, theirs = self.registries
        self.ours = Histogram(*given, buckets=EDGES, registry=ours)
        self.theirs = prometheus_client.Histogram(*given, buckets=EDGES, registry=theirs)

    def observe(self, label, value, exemplar=None):
        for each in (self.ours, self.theirs):
            each.labels(label, "second").observe(value, exemplar)

    def remove(self, label):
        for each in (self.ours, self.theirs):
            each.remove_by_labels({"z": label})

    def assert_same(self):
        ours, theirs = self.registries
        assert generate_latest(theirs).decode() == self.text(openmetrics=False)
        assert generate_openmetrics(theirs).decode() == self.text(openmetrics=True) + "# EOF\n"
        (expected,), (actual,) = theirs.collect(), ours.collect()
        assert expected.samples == actual.samples

    def text(self, *, openmetrics):
        (family,) = self.ours.collect()
        return family.text(openmetrics=openmetrics)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), VALUES, st.sampled_from([None, TRACE]))
        | st.sampled_from("abc"),
        max_size=20,
    )
)
def test_it_counts_and_writes_what_the_library_does(events):
    """Read before, between and after, so that what is kept is never stale. A label alone is
    removed; it may come back, and then begins at 0."""
    with pytest.MonkeyPatch.context() as patch:
        pair = Pair(patch)
        pair.assert_same()
        for event in events:
            if isinstance(event, str):
                pair.remove(event)
            else:
                pair.observe(*event)
            pair.assert_same()


@pytest.mark.parametrize("value", LABEL_VALUES)
def test_a_labels_value_is_escaped(monkeypatch, value):
    pair = Pair(monkeypatch)
    pair.observe(value, 2.0, {"trace_id": value})
    pair.assert_same()


def test_a_histogram_without_labels_has_one_series():
    """It is there from the first call of `labels`, which takes no value."""
    registry = CollectorRegistry()
    series = Histogram("h", "h", buckets=(1, 2), registry=registry).labels()
    series.observe(1.5)

    assert (
        'h_bucket{le="2.0"} 1.0\nh_bucket{le="+Inf"} 1.0\nh_count 1.0\nh_sum 1.5\n'
        == (generate_latest(registry).decode().partition('le="1.0"} 0.0\n')[2])
    )


def test_counts_are_not_cumulative_and_an_edge_belongs_to_its_bucket():
    series = Histogram("h", "h", buckets=(1, 2), registry=CollectorRegistry()).labels()
    for value in (0.5, 1.0, 1.5, 2.0, 2.5, math.inf):
        series.observe(value)

    assert (2, 2, 2) == series.counts


def test_a_wrong_number_of_labels_is_an_error():
    given = Histogram("h", "h", ("a",), buckets=(1,), registry=CollectorRegistry())
    for values in ((), ("a", "b")):
        with pytest.raises(ValueError, match="zip"):
            given.labels(*values)


def test_two_histograms_with_one_name_are_an_error():
    registry = CollectorRegistry()
    Histogram("h", "h", buckets=(1,), registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Histogram("h", "h", buckets=(1,), registry=registry)
