"""A histogram that reads as the client library's does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as LibraryHistogram
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from service import histogram
from service.histogram import Histogram
from service.metrics import new_registry

EDGES = (0.1, 0.2, 1.0)


def new_histogram(registry):
    return Histogram(
        "seconds", "What it is.", ("version", "mode"), buckets=EDGES, registry=registry
    )


NOW = 1_764_000_000.5
TRACE = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
SECONDS = st.sampled_from((0.0, *EDGES, 0.200001)) | st.floats(0, math.inf)


class HistogramPair:
    """Our histogram and the library's, each in a registry of its own."""

    def __init__(self, monkeypatch):
        # Both read the time of an exemplar from here.
        monkeypatch.setattr(histogram.time, "time", lambda: NOW)
        self.registries = new_registry(), new_registry()
        given = "h_seconds", 'A "quoted" text,\nand a back\\slash.', ("z", "a")
        ours, theirs = self.registries
        self.ours = Histogram(*given, buckets=EDGES, registry=ours)
        self.theirs = LibraryHistogram(*given, buckets=EDGES, registry=theirs)

    def observe(self, label, value, exemplar=None):
        for each in (self.ours, self.theirs):
            each.labels(label, "second").observe(value, exemplar)

    def remove(self, label):
        for each in (self.ours, self.theirs):
            each.remove_by_labels({"z": label})

    def assert_same(self):
        ours, theirs = self.registries
        assert generate_latest(theirs) == generate_latest(ours)
        assert generate_openmetrics(theirs) == generate_openmetrics(ours)
        assert generate_latest(theirs).decode() == self.text(openmetrics=False)
        assert generate_openmetrics(theirs).decode() == self.text(openmetrics=True) + "# EOF\n"

    def text(self, *, openmetrics):
        (family,) = self.ours.collect()
        return family.text(openmetrics=openmetrics)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), SECONDS, st.sampled_from([None, TRACE]))
        | st.sampled_from("abc"),
        max_size=15,
    )
)
def test_its_page_is_that_of_the_client_library(events):
    """Read before, between and after, so that no line that is kept is stale. A label alone is
    removed; it may come back, and then begins at 0."""
    with pytest.MonkeyPatch.context() as patch:
        pair = HistogramPair(patch)
        pair.assert_same()
        for event in events:
            if isinstance(event, str):
                pair.remove(event)
            else:
                pair.observe(*event)
            pair.assert_same()


@pytest.mark.parametrize("value", ["plain", 'quo"ted', "back\\slash", "new\nline", "ü", ""])
def test_a_labels_value_is_escaped(monkeypatch, value):
    pair = HistogramPair(monkeypatch)
    pair.observe(value, 0.5, {"trace_id": value})
    pair.assert_same()


def test_a_series_that_nothing_was_observed_in_is_at_zero():
    registry = CollectorRegistry()
    new_histogram(registry).labels("a", "step")
    labels = {"version": "a", "mode": "step"}
    assert registry.get_sample_value("seconds_count", labels) == 0
    assert registry.get_sample_value("seconds_bucket", {**labels, "le": "+Inf"}) == 0


def test_counts_are_those_of_each_bucket():
    series = new_histogram(CollectorRegistry()).labels("a", "step")
    for value in (0.05, 0.5, 0.5, 3.0):
        series.observe(value)
    assert [1, 0, 2, 1] == series.counts


def test_the_last_exemplar_of_a_bucket_is_shown():
    registry = CollectorRegistry()
    series = new_histogram(registry).labels("a", "step")
    series.observe(0.15, {"trace_id": "first"})
    series.observe(0.16, {"trace_id": "second"})
    series.observe(0.16)
    page = generate_openmetrics(registry).decode()
    assert 'le="0.2",mode="step",version="a"} 3.0 # {trace_id="second"} 0.16 ' in page
    assert "first" not in page


def test_removed_series_are_gone_and_others_stay():
    registry = CollectorRegistry()
    histogram = new_histogram(registry)
    for version, mode in (("a", "step"), ("a", "mixed"), ("b", "step")):
        histogram.labels(version, mode).observe(0.5)
    histogram.remove_by_labels({"version": "a"})
    assert registry.get_sample_value("seconds_count", {"version": "a", "mode": "step"}) is None
    assert registry.get_sample_value("seconds_count", {"version": "b", "mode": "step"}) == 1


def test_a_wrong_number_of_labels_is_an_error():
    with pytest.raises(ValueError, match="has the labels"):
        new_histogram(CollectorRegistry()).labels("a")


def test_two_histograms_of_one_name_are_an_error():
    registry = CollectorRegistry()
    new_histogram(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        new_histogram(registry)
