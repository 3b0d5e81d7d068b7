"""Every source of evidence: the process's registry, a fake server and a real Prometheus."""

from __future__ import annotations

import pytest

from service.metrics import UNASSIGNED
from service.rollout.analysis.counters import CountsByArm, KeyCounts
from service.rollout.analysis.sources.evidence_source import counters_since
from service.rollout.analysis.sources.prometheus_api import EvidenceError
from service.rollout.analysis.sources.prometheus_source import PrometheusSource
from service.rollout.analysis.sources.registry_source import RegistrySource
from service.rollout.analysis.verdict import VerdictOutcome
from service.rollout.controller.analysis_run import run_analysis
from service.rollout.state.change import apply
from service.rollout.state.events import Phase
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.types import SHARES, Mode, RequestOutcome
from tests.support.prometheus_fakes import (
    ScrapeTarget,
    new_metrics,
    prometheus,
    serving,
    vector,
)
from tests.support.rollout_fakes import EDGES, QUICK, bucket_counts
from tests.support.tools import require


class EvidenceWorld:
    """A source and the metrics it reads; `settle` waits until it can see them."""

    def __init__(self, source, metrics, settle=lambda: None):
        self.source, self.metrics, self.settle = source, metrics, settle

    def observe(self, variant, version, outcome, seconds, mode="step"):
        ended = RequestOutcome(outcome)
        self.metrics.observe_request(variant, version, Mode(mode), ended, seconds)

    async def read_stable(self, stable="a"):
        return await self._patiently(lambda: self.source.read_stable(stable))

    async def read(self, stable="a", canary="b"):
        return await self._patiently(lambda: self.source.read(stable, canary))

    async def _patiently(self, read):
        """On a busy machine a scrape may time out: the real server then has no series."""
        for _ in range(5):
            self.settle()
            try:
                return await read()
            except EvidenceError as error:
                last = error
        raise last


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    require("prometheus")
    scraped = ScrapeTarget()
    folder = tmp_path_factory.mktemp("prometheus")
    with serving(scraped.answer) as port, prometheus(folder, port) as url:
        scraped.url = url
        scraped.settle()
        yield url, scraped


@pytest.fixture(
    params=["registry", "fake server", pytest.param("real server", marks=pytest.mark.slow)]
)
def world(request):
    if request.param == "real server":
        url, scraped = request.getfixturevalue("real")
        yield EvidenceWorld(
            PrometheusSource(url, EDGES, matchers='job="nextvec"'), scraped.metrics, scraped.settle
        )
        return
    metrics = new_metrics()
    if request.param == "registry":
        yield EvidenceWorld(RegistrySource(metrics), metrics)
        return
    with serving(lambda path: (200, "application/json", vector({"one": metrics}))) as port:
        yield EvidenceWorld(PrometheusSource(f"http://127.0.0.1:{port}", EDGES), metrics)


async def test_new_requests_are_counted_by_arm_and_mode(world):
    """Durations in their buckets, faults separately, without what is not the version's fault."""
    assert EDGES == world.source.edges
    world.observe("stable", "a", "ok", 0.1)
    before = await world.read()
    for seconds in (*EDGES, *(edge * 1.01 for edge in EDGES)):
        world.observe("canary", "b", "ok", seconds)
    world.observe("stable", "a", "ok", 0.3, mode="prefill")
    world.observe("stable", "a", "cancelled", 0.2)
    for outcome in ("error", "timeout", "invalid", "rejected"):
        world.observe("stable", "a", outcome, 0.001)
    world.observe("canary", "other", "ok", 0.2)
    world.observe(UNASSIGNED, "b", "ok", 0.2)
    new = counters_since(before, await world.read())
    both = [*EDGES, *(edge * 1.01 for edge in EDGES)]
    assert CountsByArm(bucket_counts([0.2], faults=2), bucket_counts(both)) == new.requests["step"]
    assert CountsByArm(bucket_counts([0.3]), bucket_counts([])) == new.requests["prefill"]
    assert CountsByArm(bucket_counts([]), bucket_counts([])) == new.requests["mixed"]


async def test_time_in_the_engine_is_counted_separately(world):
    """By arm and mode, and only for randomly assigned requests."""
    before = await world.read()
    engine = world.metrics.observe_engine
    engine("stable", "a", Mode.STEP, 9.0, 0.1)
    engine("canary", "b", Mode.STEP, 9.0, 0.3)
    engine("canary", "b", Mode.PREFILL, 9.0, 2.0)
    engine(UNASSIGNED, "b", Mode.STEP, 9.0, 5.0)
    new = counters_since(before, await world.read())
    assert CountsByArm(bucket_counts([0.1]), bucket_counts([0.3])) == new.inference["step"]
    assert CountsByArm(bucket_counts([]), bucket_counts([2.0])) == new.inference["prefill"]
    assert {0} == {arms.canary.total for arms in new.requests.values()}


async def test_keys_are_counted_by_their_share_of_hits(world):
    """Each share in its own place, including both ends."""
    before = await world.read()
    for share in SHARES:
        world.metrics.quality.key_share.labels("canary", "b").observe(share)
    world.metrics.quality.key_share.labels("stable", "a").observe(1 / 3)
    world.metrics.quality.key_share.labels("canary", "other").observe(0.0)
    new = counters_since(before, await world.read()).keys
    assert KeyCounts((1,) * len(SHARES)) == new.canary
    assert (1, pytest.approx(1 / 3)) == (new.stable.total, new.stable.mean)


async def test_stables_requests_are_read_while_there_is_no_canary(world):
    before = await world.read_stable()
    for seconds in (0.1, 0.2):
        world.observe("stable", "a", "ok", seconds)
    world.observe("stable", "a", "timeout", 9.0)
    world.observe("canary", "b", "ok", 0.3)
    new = {mode: now.since(before[mode]) for mode, now in (await world.read_stable()).items()}
    assert bucket_counts([0.1, 0.2], faults=1) == new["step"]
    assert bucket_counts([]) == new["prefill"]


async def test_without_requests_nothing_is_new(world):
    before = await world.read()
    blank = bucket_counts([])
    assert {CountsByArm(blank, blank)} == set(
        counters_since(before, await world.read()).requests.values()
    )


async def test_an_analysis_run_reaches_a_verdict(world):
    """Faults are judged from the second run on."""
    rollout = RolloutState("a", Phase.PROGRESSING, canary="b", plan=QUICK, warmed=True)
    record = RolloutRecord(rollout)
    for now in range(4):
        for _ in range(30):
            world.observe("stable", "a", "ok", 0.1)
            world.observe("canary", "b", "error", 0.1)
        world.settle()
        result = await run_analysis(world.source, record, now=float(now), started_at=0.0)
        record = apply(record, result, float(now)).record
        assert (30 if now else 0) == result.canary_requests
    assert VerdictOutcome.FAIL is result.assessment.outcome
    assert Phase.ROLLED_BACK is record.rollout.phase
