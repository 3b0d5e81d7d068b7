"""A histogram that reads as the client library's does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as LibraryHistogram
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from service.histogram import Histogram
from service.metrics import new_registry

EDGES = (0.1, 0.2, 1.0)


def new_histogram(registry):
    return Histogram(
        "seconds", "What it is.", ("version", "mode"), buckets=EDGES, registry=registry
    )


@given(st.lists(st.sampled_from((0.0, 0.1, 0.15, 0.2, 0.200001, 1.0, 7.0)), max_size=20))
def test_its_page_is_that_of_the_client_library(values):
    """A value that equals an edge is in the bucket of that edge."""
    ours, theirs = new_registry(), new_registry()
    labels = ("version", "mode")
    library = LibraryHistogram("seconds", "What it is.", labels, buckets=EDGES, registry=theirs)
    for histogram in (new_histogram(ours), library):
        histogram.labels("a", "step")
        for value in values:
            histogram.labels("b", "step").observe(value)
    assert generate_latest(theirs) == generate_latest(ours)


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
