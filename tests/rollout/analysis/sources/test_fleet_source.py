"""The counts of all replicas: added per split, across deaths, joins and changes of leader."""

from __future__ import annotations

import pytest

from service.rollout.analysis.guardrails.suite import GuardrailSuite
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_reporter import EvidenceReporter
from service.rollout.analysis.sources.evidence_source import counters_since
from service.rollout.analysis.sources.fleet_source import FleetEvidenceError, FleetSource
from service.rollout.controller.analysis_run import judge_snapshot
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.routing.traffic_split import TrafficSplit
from service.rollout.state.events import Phase
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from tests.support.rollout_fakes import EDGES, QUICK, FakeEvidence, FakeShadow

LOW = TrafficSplit("a", "b", 1000, "salt")
HIGH = TrafficSplit("a", "b", 5000, "salt")


class SharedReports:
    """Where the processes' reports are."""

    def __init__(self):
        self.by_split = {}

    def process(self, name):
        return CountingProcess(self, name)


class CountingProcess:
    """One process that counts, and may lead."""

    def __init__(self, shared, name):
        self.shared, self.name = shared, name
        self.counted, self.shadow = FakeEvidence(), FakeShadow()
        self.reporter = EvidenceReporter(self.counted, self.shadow.take)
        self.source = FleetSource(self.reporter, self.send, self.reports)

    async def send(self, report):
        self.shared.by_split.setdefault(report.split, {})[self.name] = report

    async def reports(self, split):
        return dict(self.shared.by_split.get(split, {}))

    async def follow(self, split):
        await self.reporter.follow(split)
        await self.share()

    async def share(self):
        await self.send(await self.reporter.report())

    async def read(self):
        return await self.source.read("a", "b")


def totals(counters):
    arms = counters.requests["step"]
    return arms.stable.total, arms.canary.total


@pytest.fixture
async def two():
    shared = SharedReports()
    one, other = shared.process("one"), shared.process("other")
    for process in (one, other):
        process.counted.serve([0.1] * 50, [0.1] * 5)  # before this split
        await process.follow(LOW)
    return one, other


async def test_the_counts_of_all_processes_are_added(two):
    one, other = two
    first = await one.read()
    assert (0, 0) == totals(first.counters)
    one.counted.serve([0.1] * 10, [0.1] * 2)
    other.counted.serve([0.1] * 20, [0.1] * 3)
    await other.share()
    second = await one.read()
    assert (30, 5) == totals(counters_since(first, second))


async def test_counts_of_two_weights_are_never_mixed(two):
    """One process has changed already when the other one still counts at the old weight."""
    one, other = two
    before = await one.read()
    one.counted.serve([0.1] * 100, [0.1] * 10)
    other.counted.serve([0.1] * 100, [0.1] * 10)
    await one.follow(HIGH)
    await other.share()
    one.counted.serve([0.1] * 7, [0.1] * 6)
    after = await one.read()
    assert (7, 6) == totals(counters_since(before, after))
    assert ("one",) == after.processes
    await other.follow(HIGH)
    other.counted.serve([0.1] * 5, [0.1] * 4)
    await other.share()
    assert (5, 4) == totals(counters_since(after, await one.read()))


async def test_the_same_weight_of_another_rollout_is_another_split():
    assert LOW.name == TrafficSplit("a", "b", 1000, "salt").name
    names = {
        LOW.name,
        HIGH.name,
        TrafficSplit("a", "b", 1000, "other salt").name,
        TrafficSplit("a", "c", 1000, "salt").name,
        TrafficSplit("a", "b", 0, "salt", shadow=True).name,
        TrafficSplit("a").name,
    }
    assert len(names) == 6


async def test_what_a_dead_process_has_reported_stays(two):
    one, other = two
    first = await one.read()
    other.counted.serve([0.1] * 20, [0.1] * 3)
    await other.share()
    second = await one.read()
    assert (20, 3) == totals(counters_since(first, second))
    # It is dead; a new process begins at zero beside its last report.
    new = one.shared.process("other, again")
    await new.follow(LOW)
    new.counted.serve([0.1] * 4, [0.1])
    await new.share()
    assert (4, 1) == totals(counters_since(second, await one.read()))


async def test_another_leader_goes_on_where_the_last_one_was(two):
    """It reads the same sum, so nothing is lost between the two and nothing is counted twice."""
    one, other = two
    one.counted.serve([0.1] * 10, [0.1] * 2)
    last = await one.read()
    one.counted.serve([0.1] * 8, [0.1] * 4)
    await one.share()
    other.counted.serve([0.1] * 20, [0.1] * 3)
    assert (28, 7) == totals(counters_since(last, await other.read()))


async def test_shadow_copies_are_added_and_counted_once(two):
    one, other = two
    split = TrafficSplit("a", "b", 0, "salt", shadow=True)
    for process in two:
        process.shadow.ran(3)  # of an earlier split
        await process.follow(split)
    first = await one.read()
    one.shadow.ran(5)
    other.shadow.ran(7, faults=1)
    await other.share()
    second = await one.read()
    new = second.copies_since(first)
    assert (12, 1) == (new.answered, new.faults)
    assert 12 == new.modes["step"].canary.total
    other.shadow.ran(2)
    await other.share()
    assert 2 == (await other.read()).copies_since(second).answered


async def test_a_source_without_copies_leaves_them_to_others(two):
    snapshot = await two[0].read()
    assert ShadowStats(EDGES) == snapshot.shadow
    plain = await FakeEvidence().read("a", "b")
    assert plain.copies_since(None) is None


async def test_stables_requests_before_a_rollout_are_those_of_all(two):
    one, other = two
    assert 0 == sum(each.total for each in (await one.source.read_stable("a")).values())
    one.counted.serve([0.1] * 10)
    other.counted.serve([0.1] * 20)
    await other.share()
    assert 30 == sum(each.total for each in (await one.source.read_stable("a")).values())


async def test_processes_with_other_buckets_are_an_error(two):
    one, other = two
    report = await other.reporter.report()
    await other.send(type(report)(report.split, (0.1, 0.2), report.counters))
    with pytest.raises(FleetEvidenceError, match=r"other buckets.*limits\.timeout_seconds"):
        await one.read()


async def test_a_process_that_does_not_follow_the_split_yet_is_an_error():
    process = SharedReports().process("one")
    with pytest.raises(FleetEvidenceError, match="not counted under the current split"):
        await process.read()


async def test_a_process_that_comes_or_goes_makes_the_quality_guardrail_start_again(
    two, monkeypatch
):
    """Its routing keys move to other processes, which count them a second time."""
    one, _ = two
    suite = guardrail_suite(QUICK, EDGES, 1)
    rollout = RolloutState(
        "a", Phase.PROGRESSING, 3, canary="b", plan=QUICK, salt="salt", warmed=True
    )
    seen = []
    update = GuardrailSuite.update

    def watched(self, evidence, measurement, step):
        seen.append(measurement.restarted)
        return update(self, evidence, measurement, step)

    monkeypatch.setattr(GuardrailSuite, "update", watched)
    record = RolloutRecord(rollout)
    for living in (("one", "other"), ("one", "other"), ("one",), ("one",)):
        one.source.living = lambda living=living: living
        snapshot = await one.read()
        result = judge_snapshot(record, suite, snapshot, edges=EDGES, now=100.0, started_at=0.0)
        record = RolloutRecord(rollout, result.evidence, snapshot, 100.0)
    assert [False, False, True, False] == seen
