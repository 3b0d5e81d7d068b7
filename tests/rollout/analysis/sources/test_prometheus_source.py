"""A Prometheus server's counters: targets that appear, restart and disappear."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from service.rollout import assembly
from service.rollout.analysis.sources.evidence_source import counters_since
from service.rollout.analysis.sources.prometheus_api import EvidenceError
from service.rollout.analysis.sources.prometheus_source import PrometheusSource
from service.rollout.analysis.sources.registry_source import RegistrySource
from service.settings import Settings
from service.types import FAULTS, Variant
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
                metrics.request_duration.labels(variant, version, "step").observe(seconds)
                metrics.inference_duration.labels(variant, version, "step").observe(seconds)
                for outcome in FAULTS:
                    metrics.requests.labels(variant, version, "step", outcome)

    async def read(self):
        return await self.source.read(*self.versions)


@pytest.fixture
def fleet():
    made = Fleet()
    with serving(made.answer) as port:
        made.url = f"http://127.0.0.1:{port}/"
        made.source = PrometheusSource(made.url, EDGES, timeout_seconds=30)
        yield made


def new(before, after):
    arms = counters_since(before, after).requests["step"]
    assert arms.stable == arms.canary
    return arms.canary


async def test_the_targets_are_added_up(fleet):
    fleet.targets["two"] = new_metrics()
    before = await fleet.read()
    fleet.serve("one", 3)
    fleet.serve("two", 2, 0.5)
    assert bucket_counts([0.1] * 3 + [0.5] * 2) == new(before, await fleet.read())


async def test_the_first_reading_only_starts_the_count(fleet):
    """Older counts were made at other weights."""
    fleet.serve("one", 9)
    assert bucket_counts([]) == (await fleet.read()).counters.requests["step"].stable


async def test_a_restarted_target_counts_from_zero_and_the_others_continue(fleet):
    """Even if some of its buckets already exceed their old value."""
    fleet.targets["two"] = new_metrics()
    fleet.serve("one", 2, 0.5)
    fleet.serve("two", 5)
    before = await fleet.read()
    fleet.targets["one"] = new_metrics()
    fleet.serve("one", 4)
    fleet.serve("two", 1)
    assert bucket_counts([0.1] * 5) == new(before, await fleet.read())


async def test_a_target_that_loads_the_canary_again_has_not_restarted(fleet):
    """Its series of stable, which has thousands of requests, continue."""
    fleet.serve("one", 5000)
    before = await fleet.read()
    metrics = fleet.targets["one"]
    versions = [("a", "CPU", "fp32"), ("b", "CPU", "fp32")]
    metrics.expect([(Variant.STABLE, "a"), (Variant.CANARY, "b")])
    metrics.show_versions(versions[:1])
    with pytest.raises(EvidenceError, match="for canary b"):
        await fleet.read()
    metrics.show_versions(versions)
    metrics.expect([(Variant.CANARY, "b")])
    fleet.serve("one", 3)
    arms = counters_since(before, await fleet.read()).requests["step"]
    assert bucket_counts([0.1] * 3) == arms.stable
    assert bucket_counts([0.1] * 3) == arms.canary


async def test_a_target_that_was_missing_continues_where_it_was(fleet):
    fleet.targets["two"] = new_metrics()
    fleet.serve("two", 5)
    before = await fleet.read()
    away = fleet.targets.pop("two")
    assert bucket_counts([]) == new(before, await fleet.read())
    fleet.targets["two"] = away
    fleet.serve("two", 2)
    assert bucket_counts([0.1] * 2) == new(before, await fleet.read())


async def test_a_new_target_counts_from_its_first_reading(fleet):
    """It may have run before it was scraped."""
    before = await fleet.read()
    fleet.targets["two"] = new_metrics()
    fleet.serve("two", 5)
    assert bucket_counts([]) == new(before, await fleet.read())
    fleet.serve("two", 2)
    assert bucket_counts([0.1] * 2) == new(before, await fleet.read())


async def test_another_pair_of_versions_starts_a_new_count(fleet):
    await fleet.read()
    fleet.versions = ("a", "c")
    fleet.serve("one", 7)
    first = await fleet.read()
    assert bucket_counts([]) == first.counters.requests["step"].canary
    fleet.serve("one", 2)
    assert bucket_counts([0.1] * 2) == new(first, await fleet.read())


async def test_a_new_process_counts_nothing_twice(fleet):
    """Its source starts from zero with an origin of its own."""
    fleet.serve("one", 5)
    before = await fleet.read()
    fleet.source = PrometheusSource(fleet.url, EDGES)
    assert bucket_counts([]) == new(before, await fleet.read())


async def test_requests_missed_by_an_error_are_counted_later(fleet):
    before = await fleet.read()
    fleet.serve("one", 2)
    fleet.body = b"{}"
    with pytest.raises(EvidenceError):
        await fleet.read()
    fleet.body = None
    fleet.serve("one", 1)
    assert bucket_counts([0.1] * 3) == new(before, await fleet.read())


async def test_an_empty_response_is_an_error_and_not_a_lack_of_requests(fleet):
    fleet.body = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'
    with pytest.raises(EvidenceError, match=r"no nextvec_request.* for stable a; does it scrape"):
        await fleet.read()


async def test_the_first_query_is_for_the_requests(fleet):
    await fleet.read()
    address, _, query = fleet.paths[0].partition("?query=")
    assert "/api/v1/query" == address
    assert unquote(query).startswith('{__name__=~"nextvec_request_duration_seconds_bucket|')


async def test_one_arm_alone_is_an_error(fleet):
    fleet.body = vector(fleet.targets, ("a", "other"))
    with pytest.raises(EvidenceError, match="for canary b"):
        await fleet.read()


@pytest.mark.parametrize(
    ("url", "expected"), [(None, RegistrySource), ("http://prometheus:9090", PrometheusSource)]
)
def test_the_settings_choose_the_source(url, expected):
    settings = Settings(rollout={"prometheus_url": url})
    assert expected is type(assembly.evidence_source(settings.rollout, new_metrics()))
