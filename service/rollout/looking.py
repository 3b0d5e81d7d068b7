"""One look: from the counters to a verdict. What joins measuring and judging."""

from __future__ import annotations

import logging
from dataclasses import replace

from service.rollout.evidence import EvidenceSource, since
from service.rollout.guardrail import EProcess, Rule, look
from service.rollout.store import Record
from service.rollout.verdict import Verdict, assess, unreadable

log = logging.getLogger(__name__)


async def measure(
    source: EvidenceSource, record: Record, *, now: float, started_at: float
) -> tuple[Record, Verdict, int]:
    """The record with one more look in it, its verdict, and the canary's new requests.

    `now` and `started_at` (of this process) are epoch seconds. Whatever goes wrong
    is a verdict of its own, `error`; the record is then as before, so that the
    next look counts what this one could not.
    """
    rollout, plan = record.rollout, record.rollout.plan
    assert plan is not None
    assert rollout.canary is not None
    rule = Rule.of(plan)
    try:
        snapshot = await source.read(rollout.stable, rollout.canary)
        test, before = record.test, record.snapshot
        if test is None or test.edges != source.edges:
            if test is not None:
                log.warning("the histogram's buckets have changed; the evidence begins anew")
            test, before = EProcess(source.edges), None
        new = since(before, snapshot)
        # By latency only counts are judged whose whole interval lies after the settling.
        settled = max(rollout.step_since, started_at) + plan.settle_seconds
        steady = record.looked_at is not None and record.looked_at >= settled
        test = look(
            test,
            new,
            rule,
            latency=rollout.warmed and steady,
            alone=plan.steps[rollout.step].whole,
        )
        after = replace(record, test=test, snapshot=snapshot, looked_at=now)
        return after, assess(test, rule), sum(arms.canary.total for arms in new.values())
    except Exception as error:
        # Also a fault of the judging itself: a broken guardrail must hold the rollout too.
        log.exception("the evidence could not be read or judged")
        return record, unreadable(str(error) or type(error).__name__, rule), 0
