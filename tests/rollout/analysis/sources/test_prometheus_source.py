"""What only a server does: targets that come, restart and go; answers that are none."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from service import app
from service.rollout.analysis.sources.prometheus_source import (
    EvidenceError,
    PrometheusSource,
    parse,
    select,
)
from service.rollout.analysis.sources.registry_source import RegistrySource, since
from service.settings import Settings
from tests.support.prometheus_fakes import new_metrics, serving, vector
from tests.support.rollout_fakes import EDGES, bucket_counts


class Fleet:
    """Instances by name, the source that reads them, and what is asked of it."""

    def __init__(self):
        self.targets = {"one": new_metrics()}
        self.versions = ("a", "b")
        self.status = 200
        self.body = None
        self.paths = []

    def answer(self, path):
        self.paths.append(path)
        body = self.body if self.body is not None else vector(self.targets, self.versions)
        return self.status, "application/json", body

    def serve(self, name, count, seconds=0.1):
        metrics = self.targets[name]
        for _ in range(count):
            for variant, version in zip(("stable", "canary"), self.versions, strict=True):
                metrics.request_duration.labels(variant, version, "step", "ok").observe(seconds)
                metrics.inference_duration.labels(variant, version, "step").observe(seconds)

    def read(self):
        return asyncio.run(self.source.read(*self.versions))


@pytest.fixture
def fleet():
    made = Fleet()
    with serving(made.answer) as port:
        made.url = f"http://127.0.0.1:{port}/"
        made.source = PrometheusSource(made.url, EDGES)
        yield made


def new(before, after):
    arms = since(before, after).requests["step"]
    assert arms.stable == arms.canary
    return arms.canary


def test_the_targets_are_added_up(fleet):
    fleet.targets["two"] = new_metrics()
    before = fleet.read()
    fleet.serve("one", 3)
    fleet.serve("two", 2, 0.5)
    assert bucket_counts([0.1] * 3 + [0.5] * 2) == new(before, fleet.read())


def test_the_first_reading_is_only_where_counting_starts(fleet):
    """Counts from before were made at other weights."""
    fleet.serve("one", 9)
    assert bucket_counts([]) == fleet.read().counted.requests["step"].stable


def test_a_restarted_target_has_begun_at_zero_the_others_have_not(fleet):
    """Also where some of its buckets have passed their old value already."""
    fleet.targets["two"] = new_metrics()
    fleet.serve("one", 2, 0.5)
    fleet.serve("two", 5)
    before = fleet.read()
    fleet.targets["one"] = new_metrics()
    fleet.serve("one", 4)
    fleet.serve("two", 1)
    assert bucket_counts([0.1] * 5) == new(before, fleet.read())


def test_a_target_that_was_away_goes_on_where_it_was(fleet):
    fleet.targets["two"] = new_metrics()
    fleet.serve("two", 5)
    before = fleet.read()
    away = fleet.targets.pop("two")
    assert bucket_counts([]) == new(before, fleet.read())
    fleet.targets["two"] = away
    fleet.serve("two", 2)
    assert bucket_counts([0.1] * 2) == new(before, fleet.read())


def test_a_new_target_counts_from_its_first_reading(fleet):
    """It may be old, and only newly scraped."""
    before = fleet.read()
    fleet.targets["two"] = new_metrics()
    fleet.serve("two", 5)
    assert bucket_counts([]) == new(before, fleet.read())
    fleet.serve("two", 2)
    assert bucket_counts([0.1] * 2) == new(before, fleet.read())


def test_another_pair_of_versions_is_another_count(fleet):
    fleet.read()
    fleet.versions = ("a", "c")
    fleet.serve("one", 7)
    first = fleet.read()
    assert bucket_counts([]) == first.counted.requests["step"].canary
    fleet.serve("one", 2)
    assert bucket_counts([0.1] * 2) == new(first, fleet.read())


def test_another_process_counts_nothing_twice(fleet):
    """A source of its own begins at zero, under an origin of its own."""
    fleet.serve("one", 5)
    before = fleet.read()
    fleet.source = PrometheusSource(fleet.url, EDGES)
    assert bucket_counts([]) == new(before, fleet.read())


def test_after_an_error_what_was_missed_is_counted(fleet):
    before = fleet.read()
    fleet.serve("one", 2)
    fleet.body = b"{}"
    with pytest.raises(EvidenceError):
        fleet.read()
    fleet.body = None
    fleet.serve("one", 1)
    assert bucket_counts([0.1] * 3) == new(before, fleet.read())


def test_a_server_that_never_finishes_is_given_up():
    ended = threading.Event()

    def wait(path):
        ended.wait(30)
        return 200, "application/json", b"{}"

    with serving(wait) as port:
        url = f"http://127.0.0.1:{port}"
        source = PrometheusSource(url, EDGES, timeout_seconds=0.05)
        with pytest.raises(EvidenceError, match=r"no answer in 0.05 s|did not finish"):
            asyncio.run(source.read("a", "b"))
        ended.set()


def test_a_server_that_dribbles_keeps_no_thread():
    """It is given up in the thread as well, and hears of it: the connection ends."""
    hung_up = threading.Event()

    class Dribbling(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):
                    hung_up.wait(0.01)
                    self.wfile.write(b" ")
            except ConnectionError:
                hung_up.set()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Dribbling) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        source = PrometheusSource(
            f"http://127.0.0.1:{server.server_port}", EDGES, timeout_seconds=0.05
        )
        try:
            with pytest.raises(EvidenceError, match="did not finish"):
                asyncio.run(source.read("a", "b"))
            assert hung_up.wait(1)
        finally:
            hung_up.set()
            server.shutdown()
            thread.join()


def test_the_query_asks_for_raw_counters_of_both_arms(fleet):
    query = select('pha"se', "b", 'job="x"')
    assert 'variant="stable",version="pha\\"se",' in query
    assert 'variant="canary",version="b",' in query
    assert 6 == query.count(',job="x"}')
    assert "increase" not in query
    fleet.read()
    assert fleet.paths[0].startswith("/api/v1/query?query=nextvec_request_duration_seconds_bucket")


def changed(change):
    """The good answer after `change` of its parsed form."""
    said = json.loads(vector({"one": new_metrics()}))
    change(said)
    return json.dumps(said).encode()


def first_value(value):
    return lambda said: said["data"]["result"][0].update(value=[1.7e9, value])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "no answer of a Prometheus"),
        (b"<html>", "no answer of a Prometheus"),
        (b"[]", "no answer of a Prometheus"),
        (b"{}", "no answer of a Prometheus"),
        (b'{"status": "error", "error": "query timed out"}', "query timed out"),
        (changed(lambda s: s.update(warnings=["one store is down"])), "in part only: one store"),
        (changed(lambda s: s["data"].update(resultType="matrix")), "a matrix, not a vector"),
        (changed(first_value("NaN")), "a bucket of nan, not a count"),
        (changed(first_value("+Inf")), "a bucket of inf, not a count"),
        (changed(first_value("-1")), "a bucket of -1.0, not a count"),
        (changed(first_value("0.5")), "a bucket of 0.5, not a count"),
        (changed(first_value("7")), "buckets that fall"),
        (changed(first_value("x")), "no answer of a Prometheus"),
        (changed(lambda s: s["data"]["result"].pop(3)), "buckets that are not this service's"),
        (changed(lambda s: s["data"]["result"].append(s["data"]["result"][0])), "twice"),
        (changed(lambda s: s["data"]["result"][0]["metric"].pop("le")), "no answer"),
    ],
)
def test_what_is_no_evidence_is_an_error_with_its_reason(body, expected):
    with pytest.raises(EvidenceError, match=expected):
        parse(body, EDGES)


def test_an_empty_answer_is_an_error_and_not_a_lack_of_requests(fleet):
    fleet.body = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'
    with pytest.raises(EvidenceError, match=r"no nextvec_request.* of stable a; does it scrape"):
        fleet.read()


def test_one_arm_alone_is_an_error(fleet):
    fleet.body = vector(fleet.targets, ("a", "other"))
    with pytest.raises(EvidenceError, match="of canary b"):
        fleet.read()


def test_a_status_is_told_with_what_was_said(fleet):
    fleet.status, fleet.body = 503, b"starting up"
    with pytest.raises(EvidenceError, match="status 503: starting up"):
        fleet.read()


def test_no_server_is_told_with_what_to_look_at():
    with serving(lambda path: (200, "", b"")) as port:
        pass
    source = PrometheusSource(f"http://127.0.0.1:{port}", EDGES)
    with pytest.raises(EvidenceError, match=r"no answer in 5 s .*rollout.prometheus_url"):
        asyncio.run(source.read("a", "b"))


@pytest.mark.parametrize(
    ("url", "expected"), [(None, RegistrySource), ("http://prometheus:9090", PrometheusSource)]
)
def test_the_settings_choose_the_source(url, expected):
    settings = Settings(rollout={"prometheus_url": url})
    assert expected is type(app._evidence(settings, new_metrics()))
