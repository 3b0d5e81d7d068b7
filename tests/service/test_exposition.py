"""The metrics page equals the library's output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from service.exposition import Exposition
from service.metrics import Metrics, new_registry
from service.types import Mode, RequestOutcome

SECONDS = (0.0, 0.001, 0.1, 1 / 3, 2.5, 1e9)


def same(registry, exposition):
    """Compare the lines; metrics may be in any order."""
    expected, actual = (
        sorted(text.decode().splitlines())
        for text in (generate_latest(registry), exposition.render())
    )
    assert expected == actual


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(SECONDS)), max_size=30))
def test_it_equals_the_librarys_text_after_any_observations(observed):
    """It is read before, during and after, so that a stale cache shows."""
    registry = new_registry()
    histogram = Histogram("h_seconds", "One\nline", ("of",), buckets=SECONDS, registry=registry)
    counter = Counter("c", "Counted", registry=registry)
    exposition = Exposition(registry)
    same(registry, exposition)
    for label, seconds in observed:
        histogram.labels(label).observe(seconds)
        counter.inc()
        same(registry, exposition)


@pytest.mark.parametrize("value", ["plain", 'quo"ted', "back\\slash", "new\nline", "ü", ""])
def test_a_labels_value_is_escaped(value):
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", ("z", "a"), registry=registry)
    histogram.labels(value, "second").observe(2)
    same(registry, Exposition(registry))


def test_a_histogram_without_labels_is_written_too():
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", registry=registry)
    exposition = Exposition(registry)
    histogram.observe(2)
    same(registry, exposition)


def test_a_label_set_that_returns_starts_at_zero():
    """None of its earlier counts remain."""
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", ("version",), registry=registry)
    exposition = Exposition(registry)
    histogram.labels("a").observe(2)
    same(registry, exposition)
    histogram.remove("a")
    same(registry, exposition)
    histogram.labels("a").observe(3)
    same(registry, exposition)


def test_buckets_are_ordered_and_cumulative():
    """The format prescribes the order within a label set."""
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", buckets=(1, 2), registry=registry)
    histogram.observe(1.5)
    assert [
        "# HELP h h",
        "# TYPE h histogram",
        'h_bucket{le="1.0"} 0.0',
        'h_bucket{le="2.0"} 1.0',
        'h_bucket{le="+Inf"} 1.0',
        "h_count 1.0",
        "h_sum 1.5",
    ] == Exposition(registry).render().decode().splitlines()


def test_every_instrument_of_the_service_is_on_its_page():
    registry = new_registry()
    metrics = Metrics(registry, 10.0)
    metrics.observe_request("stable", "phase-2", Mode.STEP, RequestOutcome.OK, 0.003)
    same(registry, metrics)
