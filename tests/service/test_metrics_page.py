"""The page: its format, its text, and how often it is rendered."""

from __future__ import annotations

import gzip

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.metrics import Metrics, new_registry
from service.metrics_page import (
    MAX_BUDGET_SECONDS,
    PLAIN,
    RENDER_SHARE,
    MetricsPage,
    PageFormat,
    choose_format,
)
from service.rollout_metrics import FleetMetrics
from service.session_metrics import SessionStoreMetrics
from service.types import Mode, RequestOutcome, Variant
from tests.support.fakes import FakeClock

OPENMETRICS = PageFormat(openmetrics=True, gzipped=False)
GZIPPED = PageFormat(openmetrics=False, gzipped=True)
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "encoding", "expected"),
    [
        ("", "", PLAIN),
        ("*/*", "identity", PLAIN),
        ("text/html,*/*;q=0.8", "br", PLAIN),
        (PROMETHEUS, "gzip", PageFormat(openmetrics=True, gzipped=True)),
        ("Application/OpenMetrics-Text; version=1.0.0", "", OPENMETRICS),
        ("application/openmetrics-text;q=0", "gzip;q=0", PLAIN),
        ("application/openmetrics-text;q=0.5, text/plain", "", PLAIN),
        ("application/openmetrics-text;version=x;q=y", "gzip;q=2", PLAIN),
        ("", "deflate, *;q=0.1", GZIPPED),
        ("", "GZIP; Q=1.0", GZIPPED),
        (",;,", ";q=1,,", PLAIN),
    ],
)
def test_the_caller_chooses_the_format(accept, encoding, expected):
    assert expected == choose_format(accept, encoding)


def new_page(clock=None):
    registry = CollectorRegistry()
    clock = clock or FakeClock()
    return Counter("things", "Things.", registry=registry), MetricsPage(registry, clock.monotonic)


def test_openmetrics_ends_with_its_mark_and_can_be_parsed():
    counter, page = new_page()
    counter.inc(3, {"trace_id": "abc"})
    text = page.render(OPENMETRICS).decode()
    (family,) = text_string_to_metric_families(text)

    assert text.endswith("# EOF\n")
    assert {"trace_id": "abc"} == family.samples[0].exemplar.labels


def test_a_compressed_page_is_the_same_page():
    _, page = new_page()

    assert page.render(PLAIN) == gzip.decompress(page.render(GZIPPED))


def test_a_scrape_has_what_was_counted_before_it():
    counter, page = new_page()
    assert b"things_total 0.0" in page.read(PLAIN)
    counter.inc()
    assert b"things_total 1.0" in page.read(PLAIN)


def test_a_page_that_cannot_be_rendered_is_an_error_and_the_next_one_is_not():
    _, page = new_page()
    render = page.render

    def fail(form):
        page.render = render
        raise RuntimeError("no page")

    page.render = fail
    with pytest.raises(RuntimeError, match="no page"):
        page.read(PLAIN)
    assert b"things_total" in page.read(PLAIN)


def test_scrapes_without_end_do_not_take_the_interpreter():
    """They get the last page again, until a share of the time has passed."""
    clock = FakeClock()
    counter, page = new_page(clock)
    render = page.render

    def slowly(form):
        clock.advance(1.0)
        return render(form)

    page.render = slowly
    rendered = 0
    while clock.now < FakeClock().now + 100:
        counter.inc()
        before = clock.now
        page.read(PLAIN)
        rendered += clock.now > before
        clock.advance(0.05)

    assert rendered <= MAX_BUDGET_SECONDS + 100 * RENDER_SHARE + 1
    assert rendered > 100 * RENDER_SHARE / 2


def blocks(text):
    """The lines of each family; the order of families is free."""
    return sorted(text.split("# HELP "))


@pytest.mark.parametrize(
    ("form", "generate"), [(PLAIN, generate_latest), (OPENMETRICS, generate_openmetrics)]
)
def test_the_service_page_is_the_librarys_page(form, generate):
    """With all its metrics, exemplars included, before and after observations."""
    metrics = Metrics(new_registry(), 10.0)
    FleetMetrics(metrics.registry)
    SessionStoreMetrics(metrics.registry)
    metrics.expect([(Variant.STABLE, "phase-2"), (Variant.CANARY, "phase-3")])
    for seconds in (0.0003, 0.02, 1.5, 0.02):
        trace = {"trace_id": f"{seconds}"}
        metrics.observe_request("stable", "phase-2", Mode.STEP, RequestOutcome.OK, seconds, trace)
        metrics.observe_engine("canary", "phase-3", Mode.PREFILL, seconds, seconds, trace)
        library = generate(metrics.registry).decode().removesuffix("# EOF\n")
        ours = metrics.page.render(form).decode()

        assert blocks(library) == blocks(ours.removesuffix("# EOF\n"))
        assert form.openmetrics == ours.endswith("\n# EOF\n")
