"""Records of rollouts as a person may find them, judged by the service's own guardrails: one a
name in `cases`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.rollout.analysis.counters import (
    SHARES,
    Counters,
    CountsByArm,
    KeyCounts,
    KeyCountsByArm,
)
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.shadow_stats import ShadowStats, count_copy
from service.rollout.analysis.verdict import Assessment
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.assessment import with_shadow_verdict
from service.rollout.state.events import Phase, Reason
from service.rollout.state.record import EarlierAssessment, RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from tests.support.rollout_fakes import EDGES, bucket_counts

NOW = 1_800_000_000.0
INTERVAL = 15.0
PLAN = RolloutPlan.model_validate(
    {
        "steps": [
            {"weight": 5, "min_dwell_seconds": 120},
            {"weight": 25, "min_dwell_seconds": 120},
            {"weight": 50, "min_dwell_seconds": 120, "approval": True},
        ],
        "warm_up_seconds": 30,
        "warm_up_requests": 50,
        "settle_seconds": 15,
        "baseline_samples": 100,
        "guardrails": {
            "ceiling": {
                "enabled": True,
                "modes": {"step": {"roll_back_seconds": 0.2, "aim_seconds": 0.1}},
            }
        },
    }
)
SHADOW_PLAN = RolloutPlan.model_validate(
    {
        "steps": [{"shadow": True, "min_dwell_seconds": 120}, {"weight": 25}, {"weight": 50}],
        "warm_up_seconds": 30,
        "warm_up_requests": 50,
    }
)
WHOLE_PLAN = RolloutPlan.model_validate(
    {"steps": [{"weight": 25}, {"weight": 100, "approval": True}], "warm_up_seconds": 30}
)

STABLE = [0.010] * 180 + [0.020] * 14 + [0.030] * 6
LEVEL = [0.010] * 45 + [0.020] * 4 + [0.030]
FASTER = [0.009] * 46 + [0.012] * 4
HIGHER = [0.010] * 44 + [0.021] * 6
SLOW = [0.010] * 20 + [0.103] * 30
QUIET = Counters()


def counters(
    stable: Sequence[float] = STABLE,
    canary: Sequence[float] = LEVEL,
    *,
    failed: tuple[int, int] = (0, 0),
    engine: tuple[Sequence[float], Sequence[float]] | None = None,
    keys: tuple[int, float, int, float] | None = None,
    mode: str = "step",
) -> Counters:
    """What one analysis run counts, from seconds.

    `failed` requests are the canary's and stable's. `keys`: how many of stable's and of the
    canary's, each with its share of hits.
    """
    engine_stable, engine_canary = engine or (stable, canary)
    return Counters(
        requests={
            mode: CountsByArm(bucket_counts(stable, failed[1]), bucket_counts(canary, failed[0]))
        },
        inference={mode: CountsByArm(bucket_counts(engine_stable), bucket_counts(engine_canary))},
        keys=KeyCountsByArm()
        if keys is None
        else KeyCountsByArm(_keys(*keys[:2]), _keys(*keys[2:])),
    )


def _keys(count: int, share: float) -> KeyCounts:
    return KeyCounts(tuple(count if each == share else 0 for each in SHARES))


def judged(
    *runs: Counters,
    plan: RolloutPlan = PLAN,
    step: int = 0,
    baseline: Sequence[float] = STABLE * 2,
    shadow: ShadowStats | None = None,
    before: Sequence[Counters] = (),
) -> list[Assessment]:
    """The assessments after these runs, the last one last. `before`: those of earlier steps."""
    suite = guardrail_suite(plan, EDGES, 1)
    evidence = suite.initial_evidence(EDGES, {"step": bucket_counts(baseline)})
    assessments = []
    for new in before:
        evidence, _ = suite.update(evidence, Measurement(new), step - 1)
    evidence = evidence.next_step() if before else evidence
    for new in runs:
        measurement = Measurement(new, canary_only=plan.steps[step].takes_all)
        evidence, assessment = suite.update(evidence, measurement, step)
        assessments.append(with_shadow_verdict(plan.steps[step], shadow, assessment))
    return assessments


def rollout(phase: Phase = Phase.PROGRESSING, step: int = 1, **more) -> RolloutState:
    return RolloutState(
        **{
            "stable": "phase-2",
            "phase": phase,
            "canary": "phase-3",
            "plan": PLAN,
            "step": step,
            "since": NOW - 90,
            "step_since": NOW - 90,
            "warmed": True,
            "reason": Reason.STEP_PASSED,
            "actor": "controller",
            **more,
        }
    )


def record(state: RolloutState, assessments: Sequence[Assessment] = (), **more) -> RolloutRecord:
    last = assessments[-1] if assessments else None
    earlier = EarlierAssessment(NOW - INTERVAL, assessments[-2]) if len(assessments) > 1 else None
    return RolloutRecord(
        **{
            "rollout": state,
            "analysed_at": NOW,
            "assessment": last,
            "heard_at": NOW,
            "earlier": earlier,
            **more,
        }
    )


def copies(count: int, *, ratio: float = 1.0, faults: int = 0, dropped: int = 0) -> ShadowStats:
    stats = ShadowStats(EDGES, faults=faults, dropped=dropped)
    for _ in range(count):
        modes = count_copy(EDGES, "step", 0.01, 0.01 * ratio)
        stats = stats.plus(ShadowStats(EDGES, modes, answered=1, cosine_sum=0.9))
    return stats


def cases() -> dict[str, RolloutRecord]:
    """Every record by its name."""
    few = judged(counters(STABLE[:20], LEVEL[:4]), step=1)
    level = judged(*[counters()] * 4, step=1)
    faster = judged(*[counters(canary=FASTER)] * 3, step=1)
    higher = judged(*[counters(canary=HIGHER)] * 3, step=1)
    passed = judged(*[counters(canary=FASTER, keys=(40, 0.5, 40, 0.5))] * 12, step=1)
    slow = judged(
        *[counters(canary=LEVEL, keys=(9, 0.5, 9, 0.5))] * 3, *[counters(canary=SLOW)], step=1
    )
    failed_latency = judged(*[counters()] * 3, *[counters(canary=SLOW)] * 4, step=1)
    engine_slow = judged(
        *[counters()] * 3, counters(engine=(STABLE, SLOW)), counters(engine=(STABLE, SLOW)), step=1
    )
    engine_failed = judged(*[counters()] * 3, *[counters(engine=(STABLE, SLOW))] * 6, step=1)
    errors = judged(*[counters()] * 3, *[counters(failed=(7, 0))] * 2, step=1)
    errors_failed = judged(*[counters()] * 3, *[counters(failed=(9, 0))] * 6, step=1)
    worse = judged(*[counters(keys=(40, 0.75, 40, 0.25))], step=1)
    worse_failed = judged(*[counters(keys=(40, 0.75, 40, 0.25))] * 5, step=1)
    slow_stable = [0.2] * 200
    stalled = judged(*[counters()] * 3, *[counters(slow_stable, [0.2] * 50)] * 8, step=1)
    stalled_failed = judged(*[counters()] * 3, *[counters(slow_stable, [0.2] * 50)] * 12, step=1)
    over = judged(*[counters()] * 3, *[counters([0.3] * 200, [0.3] * 50)] * 2, step=1)
    over_failed = judged(*[counters()] * 3, *[counters([0.3] * 200, [0.3] * 50)] * 5, step=1)
    # Slow at first, level with stable since: the evidence remembers, the percentile does not.
    past = [counters(canary=FASTER)] * 3
    recovered = judged(
        *[counters(canary=LEVEL)] * 2,
        step=1,
        before=[*past, counters(canary=SLOW), counters(STABLE, STABLE[150:])],
    )
    rare = counters([0.1] * 40, [0.1] * 10, mode="prefill")
    slow_rare = counters([0.1] * 40, [0.3] * 10, mode="prefill")
    one_mode = judged(
        *past, *[counters().plus(rare)] * 3, *[counters().plus(slow_rare)] * 5, step=1
    )
    unread = [guardrail_suite(PLAN, EDGES, 1).error("http://prometheus:9090 does not answer", 1)]
    shadowed = {"plan": SHADOW_PLAN, "step": 0}

    def in_shadow(stats: ShadowStats, **more) -> RolloutRecord:
        state = rollout(**shadowed, reason=Reason.WARMED_UP, **more)
        return record(state, judged(QUIET, plan=SHADOW_PLAN, shadow=stats), shadow=stats)

    def paused(reason: Reason, assessments=level, step=1, **more) -> RolloutRecord:
        return record(rollout(Phase.PAUSED, step, reason=reason, **more), assessments)

    def ended(reason: Reason, assessments=(), message="", **more) -> RolloutRecord:
        return record(
            rollout(
                Phase.ROLLED_BACK,
                reason=reason,
                message=f"phase-2 has all traffic: {message}",
                **more,
            ),
            assessments,
        )

    warming = {
        "reason": Reason.PREPARED,
        "warmed": False,
        "since": NOW - 12,
        "step_since": NOW - 12,
    }
    return {
        "idle": RolloutRecord(RolloutState("phase-2")),
        "loading": record(rollout(Phase.PENDING, 0, reason=Reason.START)),
        "loading again": record(
            rollout(Phase.PENDING, 0, reason=Reason.RETRY, attempts={"phase-3": 2})
        ),
        "loading for an undo": record(
            rollout(Phase.PENDING, 0, reason=Reason.UNDO, plan=None, undoing=True, canary="phase-1")
        ),
        "warm-up": record(rollout(Phase.WARMING_UP, 0, **warming, warm_up_requests=24)),
        "warm-up is over": record(
            rollout(Phase.WARMING_UP, 0, **{**warming, "step_since": NOW - 40}, warm_up_requests=60)
        ),
        "warm-up of a shadow step": record(
            rollout(Phase.WARMING_UP, **shadowed, **warming, warm_up_requests=24)
        ),
        "warm-up without requests": record(
            rollout(Phase.WARMING_UP, 0, **{**warming, "step_since": NOW - 90}), heard_at=None
        ),
        "first step, nothing judged": record(
            rollout(step=0, reason=Reason.WARMED_UP, since=NOW, step_since=NOW),
            judged(QUIET),
        ),
        "first step, stable is not known": record(
            rollout(step=0, reason=Reason.WARMED_UP),
            judged(counters(STABLE[:90], LEVEL[:9]), baseline=()),
        ),
        "first step, few requests": record(rollout(step=0, reason=Reason.WARMED_UP), few),
        "next step after a pass": record(
            rollout(since=NOW, step_since=NOW, proven=True), judged(QUIET, step=1)
        ),
        "next step after a pass, slower by chance": record(
            rollout(proven=True),
            judged(
                *[counters(canary=[0.010] * 18 + [0.030] * 2)] * 2, step=1, before=[counters()] * 3
            ),
        ),
        "next step after force": record(
            rollout(since=NOW, step_since=NOW, reason=Reason.FORCED), judged(QUIET, step=1)
        ),
        "few requests": record(rollout(), few),
        "level": record(rollout(), level),
        "faster": record(rollout(), faster),
        "a little slower": record(rollout(), higher),
        "a mode holds the pass": record(
            rollout(),
            judged(
                *[counters(canary=FASTER)] * 8,
                counters(STABLE[:60], SLOW[:1], mode="prefill"),
                step=1,
            ),
        ),
        "the last step": record(rollout(step=2), passed),
        "the last step, dwell is over": record(
            rollout(step=2, since=NOW - 200, step_since=NOW - 200), passed
        ),
        "all traffic": record(
            rollout(plan=WHOLE_PLAN, step=1, proven=True),
            judged(*[counters([], LEVEL)] * 3, plan=WHOLE_PLAN, step=1),
        ),
        "latency leans to fail": record(rollout(), slow),
        "latency leans to fail, now faster": record(rollout(), recovered),
        "one mode leans to fail": record(rollout(), one_mode),
        "a leaning without requests": record(rollout(), errors, heard_at=NOW - 75),
        "engine leans to fail": record(rollout(), engine_slow),
        "errors lean to fail": record(rollout(), errors),
        "quality leans to fail": record(rollout(), worse),
        "stable leans to fail": record(rollout(), stalled),
        "ceiling leans to fail": record(rollout(), over),
        "errors and latency fail together": record(
            rollout(), judged(*[counters()] * 3, *[counters(failed=(9, 0))] * 2, step=1)
        ),
        "a pause that leans to fail": paused(Reason.BY_HAND, errors, actor="anna", note="lunch"),
        "approval": paused(Reason.APPROVAL, passed),
        "approval of the last step": paused(Reason.APPROVAL, passed, 2),
        "approval that leans to fail": paused(Reason.APPROVAL, errors),
        "no data": paused(Reason.NO_DATA, few),
        "no verdict": paused(Reason.INCONCLUSIVE, level),
        "counts cannot be read": paused(Reason.EVIDENCE_ERROR, unread),
        "replicas died": paused(Reason.REPLICAS_DIED, level),
        "paused by a person": paused(Reason.BY_HAND, actor="anna", note="lunch"),
        "paused by a person without a reason": paused(Reason.BY_HAND, actor="anna"),
        "one run cannot be read": record(rollout(), unread),
        "no request for a while": record(rollout(), few, heard_at=NOW - 75),
        "no copy for a while": replace(in_shadow(copies(12)), heard_at=NOW - 75),
        "shadow, no copies": in_shadow(copies(0)),
        "shadow, few copies": in_shadow(copies(40, dropped=3)),
        "shadow, many copies": in_shadow(copies(412, ratio=1.07, dropped=31)),
        "shadow, slower": in_shadow(copies(412, ratio=3.0)),
        "shadow, a copy failed": in_shadow(copies(200, faults=1)),
        "shadow, copies fail": in_shadow(copies(200, faults=2)),
        "rolled back by latency": ended(Reason.GUARDRAIL_FAILED, failed_latency),
        "rolled back by the engine": ended(Reason.GUARDRAIL_FAILED, engine_failed),
        "rolled back by errors": ended(Reason.GUARDRAIL_FAILED, errors_failed),
        "rolled back by quality": ended(Reason.GUARDRAIL_FAILED, worse_failed),
        "rolled back by stable": ended(Reason.GUARDRAIL_FAILED, stalled_failed),
        "rolled back by the ceiling": ended(Reason.GUARDRAIL_FAILED, over_failed),
        "rolled back by the shadow step": ended(
            Reason.GUARDRAIL_FAILED,
            judged(QUIET, plan=SHADOW_PLAN, shadow=copies(200, faults=3)),
            **shadowed,
        ),
        "rolled back by the shadow step's times": ended(
            Reason.GUARDRAIL_FAILED,
            judged(QUIET, plan=SHADOW_PLAN, shadow=copies(600, ratio=7.0)),
            **shadowed,
        ),
        "nobody ended the pause": ended(
            Reason.PAUSE_DEADLINE, level, "paused (approval) for 86400 s, the deadline of a pause"
        ),
        "no verdict by the deadline": ended(Reason.INCONCLUSIVE, level, "no pass in 3600 s; …"),
        "the gate": ended(
            Reason.GATE_MISSED, message="phase-3 does not meet the gate: hit_at_5 0.31 < 0.35"
        ),
        "the load": ended(
            Reason.PREPARE_FAILED,
            message="phase-3 cannot be served: its file is damaged; export it again",
        ),
        "stopped with a reason": ended(
            Reason.ABORTED, level, "stopped by anna", actor="anna", note="wrong version"
        ),
        "stopped": ended(Reason.ABORTED, level, "stopped by anna", actor="anna"),
        "becomes stable": record(rollout(Phase.PROMOTING, 2, reason=Reason.PROMOTED), passed),
        "promoted": record(
            RolloutState(
                "phase-3", canary=None, previous="phase-2", plan=PLAN, reason=Reason.PROMOTED
            )
        ),
        "promoted by force": record(
            RolloutState(
                "phase-3",
                previous="phase-2",
                plan=PLAN,
                reason=Reason.FORCED,
                actor="anna",
                note="urgent",
            )
        ),
        "undone": record(
            RolloutState("phase-2", previous="phase-3", reason=Reason.UNDO, actor="anna")
        ),
    }
