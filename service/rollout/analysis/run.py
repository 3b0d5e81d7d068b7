"""One look: from the counters to a judgement. What joins measuring and judging."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from service.rollout.analysis.counters import Counts
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.interference import InterferenceState
from service.rollout.analysis.guardrails.suite import Evidence, GuardrailSuite
from service.rollout.analysis.shadow_stats import NAME, ShadowStats, assess_shadow
from service.rollout.analysis.sources.registry_source import EvidenceSource, since
from service.rollout.analysis.verdict import Assessment, assess
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState

log = logging.getLogger(__name__)


async def start_analysis(
    source: EvidenceSource, record: RolloutRecord, before: dict[str, Counts], *, now: float
) -> RolloutRecord:
    """The record with the snapshot from which on the canary's requests count, and with
    stable's requests `before` them. As it was where that cannot be read: counting then
    starts with the first look."""
    rollout = record.rollout
    assert rollout.canary is not None
    try:
        snapshot = await source.read(rollout.stable, rollout.canary)
    except Exception as error:  # noqa: BLE001 - the first look will tell, and hold
        log.warning("no evidence to start from, the first look will try: %s", error)
        return record
    evidence = Evidence(source.edges, interference=InterferenceState(before))
    return replace(record, evidence=evidence, snapshot=snapshot, looked_at=now)


async def run_analysis(
    source: EvidenceSource,
    record: RolloutRecord,
    *,
    now: float,
    started_at: float,
    shadows: Callable[[], ShadowStats] | None = None,
) -> tuple[RolloutRecord, Assessment, int]:
    """The record with one more look in it, its judgement, and the canary's new requests.

    `now` and `started_at` (of this process) are epoch seconds; `shadows` answers what the
    copies of a shadow step have shown since it was last called, each once. Whatever goes
    wrong is an outcome of its own, `error`; the record is then as before, so that the
    next look counts what this one could not.
    """
    rollout, plan = record.rollout, record.rollout.plan
    assert plan is not None
    assert rollout.canary is not None
    suite = GuardrailSuite.of(plan, source.edges, rollout.attempt)
    try:
        snapshot = await source.read(rollout.stable, rollout.canary)
        evidence, before = record.evidence, record.snapshot
        if evidence is None or evidence.edges != source.edges:
            if evidence is not None:
                log.warning("the histogram's buckets have changed; the evidence begins anew")
            evidence, before = Evidence(source.edges), None
        new = since(before, snapshot)
        # By speed only counts are judged whose whole interval lies after the settling.
        settled = settled_at(rollout, plan, started_at)
        steady = record.looked_at is not None and record.looked_at >= settled
        look = Measurement(
            new,
            steady=rollout.warmed and steady,
            alone=plan.steps[rollout.step].whole,
            restarted=before is not None and before.origin != snapshot.origin,
        )
        evidence, judgement = suite.look(evidence, look, rollout.step)
        after = replace(record, evidence=evidence, snapshot=snapshot, looked_at=now)
        requests = sum(arms.canary.total for arms in new.requests.values())
        if plan.steps[rollout.step].shadow and shadows is not None:
            copies = shadows()
            after = replace(after, shadow=_seen(after, copies))
            judgement, requests = with_shadow(after, judgement), copies.total
    except Exception as error:
        # Also a fault of what surrounds the judging: it must hold the rollout too.
        log.exception("the evidence could not be read or judged")
        said = str(error) or type(error).__name__
        return record, suite.unreadable(said, rollout.step), 0
    return after, judgement, requests


def settled_at(rollout: RolloutState, plan: RolloutPlan, started_at: float) -> float:
    """When speed may be judged, epoch seconds, once the canary is warm.

    At the first step the warm-up was at its weight already, and counts for the settling.
    """
    settle = plan.settle_seconds
    since_step = max(0.0, settle - plan.warm_up_seconds) if rollout.step == 0 else settle
    return max(rollout.step_since + since_step, started_at + settle)


def last_assessment(record: RolloutRecord) -> Assessment | None:
    """What a record stands at, after a restart."""
    rollout = record.rollout
    if record.evidence is None or rollout.plan is None:
        return None
    suite = GuardrailSuite.of(rollout.plan, record.evidence.edges, rollout.attempt)
    return with_shadow(record, suite.assess(record.evidence, rollout.step))


def with_shadow(record: RolloutRecord, judgement: Assessment) -> Assessment:
    """In a shadow step its own verdict decides; a guardrail that fails does as well."""
    plan = record.rollout.plan
    assert plan is not None
    step = plan.steps[record.rollout.step]
    if not step.shadow or record.shadow is None:
        return judgement
    return assess([assess_shadow(record.shadow, step), *judgement.verdicts], frozenset({NAME}))


def _seen(record: RolloutRecord, new: ShadowStats) -> ShadowStats:
    """With the new copies, but for the faultless ones of the warm-up."""
    if not record.rollout.warmed:
        new = ShadowStats(new.edges, faults=new.faults)
    before = record.shadow
    return new if before is None or before.edges != new.edges else before.plus(new)
