"""Stable's requests before a rollout, from cumulative counters."""

from __future__ import annotations

from service.rollout.analysis.baseline import WINDOW_SECONDS, Baseline
from tests.support.rollout_fakes import FakeEvidence, bucket_counts


async def observe(evidence, baseline, times, *, stable="a", each=10, seconds=0.1):
    for now in times:
        evidence.serve([seconds] * each)
        await baseline.observe(stable, float(now))


async def test_it_covers_the_last_ten_to_twenty_minutes():
    evidence = FakeEvidence()
    baseline = Baseline(evidence)
    await observe(evidence, baseline, range(0, 7200, 15))
    found = baseline.counts("a")["step"].total
    assert WINDOW_SECONDS / 15 * 10 <= found <= 2 * WINDOW_SECONDS / 15 * 10


async def test_it_follows_the_load():
    evidence = FakeEvidence()
    baseline = Baseline(evidence)
    await observe(evidence, baseline, range(0, 3600, 15))
    await observe(evidence, baseline, range(3600, 5400, 15), seconds=0.4)
    found = baseline.counts("a")["step"]
    assert bucket_counts([0.4] * found.total) == found


async def test_there_is_none_before_the_first_observation_or_for_another_version():
    evidence = FakeEvidence()
    baseline = Baseline(evidence)
    assert {} == baseline.counts("a")
    await observe(evidence, baseline, range(0, 600, 15))
    assert {} == baseline.counts("b")
    await observe(evidence, baseline, [600], stable="b")
    assert {} == baseline.counts("a")
    assert 0 == baseline.counts("b")["step"].total


async def test_a_rollout_or_unreadable_counters_end_it():
    evidence = FakeEvidence()
    baseline = Baseline(evidence)
    await observe(evidence, baseline, range(0, 600, 15))
    baseline.forget()
    assert {} == baseline.counts("a")
    await observe(evidence, baseline, [615, 630])
    assert 10 == baseline.counts("a")["step"].total
    evidence.error = OSError("gone")
    await baseline.observe("a", 645.0)
    assert {} == baseline.counts("a")


async def test_a_restarted_process_counts_from_zero():
    evidence = FakeEvidence()
    baseline = Baseline(evidence)
    await observe(evidence, baseline, range(0, 300, 15))
    evidence.restart()
    await observe(evidence, baseline, [300], each=7)
    assert 7 == baseline.counts("a")["step"].total
