"""Statuses of a rollout as the console may find them: one function a state, by name in `STATES`."""

from __future__ import annotations

import math
from collections.abc import Callable

from service.rollout.plan.rollout_plan import RolloutPlan

PLAN = RolloutPlan.model_validate(
    {
        "steps": [
            {"weight": 5, "min_dwell_seconds": 120},
            {"weight": 25, "min_dwell_seconds": 120},
            {"weight": 50, "min_dwell_seconds": 120, "approval": True},
        ],
        "warm_up_seconds": 30,
        "warm_up_requests": 50,
    }
)
SHADOW_PLAN = PLAN.model_copy(
    update={"steps": (RolloutPlan().steps[0], *PLAN.steps)},
)
NEXT = {
    "action": "none",
    "text": "",
    "weight_percent": None,
    "waiting_for": [],
    "earliest_at": None,
    "expected_at": None,
    "deadline_at": None,
    "on_deadline": None,
    "conditions": [],
    "rollback": None,
}
BASE = {
    "phase": "Healthy",
    "reason": None,
    "message": "",
    "generation": 7,
    "stable": "phase-2",
    "canary": "phase-3",
    "previous": None,
    "attempt": 1,
    "step": None,
    "steps": 3,
    "weight": {"set_percent": 0.0, "actual_percent": None},
    "since": 0.0,
    "step_since": None,
    "looked_at": 0.0,
    "legal": [],
    "plan": PLAN.model_dump(mode="json"),
    "gate": None,
    "recorded": True,
    "guardrails": [],
    "shadow": None,
    "outlook": "idle",
    "headline": "",
    "actor": "controller",
    "note": "",
    "next": NEXT,
}


def condition(name: str, text: str, fraction: float, unit: str = "requests") -> dict:
    return {
        "name": name,
        "current": fraction * 500,
        "required": 500,
        "unit": unit,
        "met": fraction >= 1,
        "fraction": fraction,
        "text": text,
    }


def guardrail(name: str, label: str, standing: str, summary: str, **more) -> dict:
    outcomes = {"passed": "pass", "failed": "fail", "error": "error"}
    return {
        "name": name,
        "outcome": outcomes.get(standing, "inconclusive"),
        "required": more.get("effect") == "must_pass",
        "message": f"{name}: ln E = 3.00 for a pass, ln(1/0.0075) = 4.89 wanted",
        "ratio": more.get("difference"),
        "threshold": more.get("limit"),
        "log_evidence": {"fail": -1.2, "pass": 3.0, "bound": 5.7, "pass_bound": 4.89},
        "samples": {"canary": 620, "stable": 1830},
        "unit": "requests",
        "label": label,
        "summary": summary,
        "standing": standing,
        "effect": "can_roll_back",
        "stable": None,
        "canary": None,
        "value_unit": "seconds",
        "difference": None,
        "difference_kind": "ratio",
        "limit": 1.2,
        "direction": "at_most",
        "interval": None,
        "progress": {"pass": 0.0, "fail": 0.0},
        **more,
    }


def interval(low: float | None, high: float | None, text: str) -> dict:
    return {"low": low, "high": high, "confidence": 0.989, "text": text}


def healthy_guardrails(share: float = 0.61) -> list[dict]:
    passed = share >= 1
    latency = guardrail(
        "latency",
        "P95 latency",
        "passed" if passed else "leaning_to_pass",
        f"P95 is 4 % higher than stable's; {100 * share:.0f} % of the evidence for a pass.",
        effect="must_pass",
        stable=0.0073,
        canary=0.0076,
        difference=1.041,
        interval=interval(0.913, 1.315, "between 0.91 and 1.31 times stable's"),
        progress={"pass": share, "fail": 0.0},
        strata=[
            {
                "mode": "step",
                "tau_seconds": 0.0073,
                "samples": {"canary": 620, "stable": 1830},
                "slow": {"canary": 12, "stable": 92},
                "p95_seconds": {"canary": 0.0076, "stable": 0.0073},
            }
        ],
    )
    return [latency, *other_guardrails("passed", 1.0)]


def other_guardrails(errors: str, share: float) -> list[dict]:
    return [
        guardrail(
            "errors",
            "Error rate",
            errors,
            "0 of 620 canary and 0 of 1830 stable requests failed (limit +1 point).",
            effect="must_pass",
            stable=0.0,
            canary=0.0,
            value_unit="share",
            difference=0.0,
            difference_kind="points",
            limit=1.0,
            progress={"pass": share, "fail": 0.0},
        ),
        guardrail(
            "interference",
            "Stable's own P95",
            "watching",
            "Stable's P95 is 1.1 times its value before the rollout (limit 3).",
            stable=0.0079,
            before=0.0072,
            difference=1.1,
            limit=2.99,
            progress={"pass": 0.0, "fail": 0.1},
        ),
        guardrail(
            "quality",
            "Hit@5",
            "no_data",
            "No key has been scored yet.",
            value_unit="share",
            limit=0.8,
            direction="at_least",
        ),
    ]


def failing_guardrails(share: float = 0.83) -> list[dict]:
    failed = share >= 1
    inference = guardrail(
        "inference",
        "P95 in the engine",
        "failed" if failed else "leaning_to_fail",
        "P95 in the engine is 4.7 times stable's (103 ms against 21.9 ms, limit 1.2).",
        stable=0.0219,
        canary=0.103,
        difference=4.7,
        interval=interval(2.4, None, "at least 2.4 times stable's"),
        progress={"pass": 0.0, "fail": share},
    )
    latency = guardrail(
        "latency",
        "P95 latency",
        "leaning_to_fail",
        "P95 is 1.7 times stable's (116 ms against 69.8 ms, limit 1.2).",
        effect="must_pass",
        stable=0.0698,
        canary=0.116,
        difference=1.66,
        interval=interval(0.9, 4.1, "between 0.9 and 4.1 times stable's"),
        progress={"pass": 0.0, "fail": 0.26},
    )
    return [latency, inference, *other_guardrails("collecting", 0.2)]


def running(now: float, step: int = 1, **more) -> dict:
    weight = PLAN.steps[step].weight
    return {
        **BASE,
        "phase": "Progressing",
        "reason": "step_passed",
        "step": step,
        "weight": {"set_percent": weight, "actual_percent": weight - 0.4},
        "since": now - 45,
        "step_since": now - 45,
        "looked_at": now - 2,
        "legal": ["abort", "pause", "promote"],
        **more,
    }


def next_step(now: float, **more) -> dict:
    return {
        **NEXT,
        "action": "next_step",
        "text": "Step 3 of 3 (50 %) begins when latency and errors have passed and 2 min are over.",
        "weight_percent": 50.0,
        "waiting_for": ["dwell", "guardrail:latency"],
        "earliest_at": now + 75,
        "expected_at": now + 166,
        "deadline_at": now + 3555,
        "on_deadline": "pause",
        "conditions": [
            condition("dwell", "45 s of 2 min at this weight", 0.375, "seconds"),
            condition("canary_samples", "620 of 500 canary requests", 1.0),
            condition("stable_samples", "1830 of 500 stable requests", 1.0),
            condition("guardrail:latency", "P95 latency: 61 % of a pass", 0.61, "evidence"),
            condition("guardrail:errors", "Error rate has passed", 1.0, "evidence"),
        ],
        **more,
    }


def idle(now: float) -> dict:
    return {
        **BASE,
        "canary": None,
        "attempt": None,
        "plan": None,
        "steps": 0,
        "legal": ["start"],
        "headline": "No rollout: phase-2 has all traffic.",
        "next": {**NEXT, "text": "Start a rollout to try another version."},
    }


def preparing(now: float) -> dict:
    return {
        **running(now, 0),
        "phase": "Pending",
        "reason": "start",
        "weight": {"set_percent": 0.0, "actual_percent": None},
        "legal": ["abort"],
        "outlook": "preparing",
        "headline": "phase-3 is being loaded.",
        "actor": "alice",
        "note": "longer context",
        "next": {
            **NEXT,
            "action": "load",
            "text": "The warm-up begins when phase-3 is loaded.",
            "waiting_for": ["load"],
        },
    }


def warming_up(now: float) -> dict:
    return {
        **running(now, 0),
        "phase": "WarmingUp",
        "reason": "prepared",
        "legal": ["abort", "pause"],
        "outlook": "warming_up",
        "headline": "phase-3 is warming up: 12 s of 30 s, 24 of 50 requests.",
        "next": {
            **NEXT,
            "action": "begin_steps",
            "text": "Step 1 of 3 (5 %) begins after the warm-up.",
            "weight_percent": 5.0,
            "waiting_for": ["warm_up_seconds", "warm_up_requests"],
            "earliest_at": now + 18,
            "expected_at": now + 20,
            "deadline_at": now + 3588,
            "on_deadline": "pause",
            "conditions": [
                condition("warm_up_seconds", "12 s of 30 s", 0.4, "seconds"),
                condition("warm_up_requests", "24 of 50 requests", 0.48),
            ],
        },
    }


def too_early(now: float) -> dict:
    collecting = [
        {**one, "standing": "collecting", "outcome": "inconclusive", "interval": None}
        for one in healthy_guardrails(0.05)
    ]
    return {
        **running(now),
        "outlook": "too_early",
        "headline": "It is too early to judge phase-3: 40 of 500 canary requests.",
        "guardrails": collecting,
        "next": next_step(
            now,
            expected_at=None,
            conditions=[
                condition("dwell", "4 s of 2 min at this weight", 0.03, "seconds"),
                condition("canary_samples", "40 of 500 canary requests", 0.08),
                condition("stable_samples", "160 of 500 stable requests", 0.32),
                condition("guardrail:latency", "P95 latency: 5 % of a pass", 0.05, "evidence"),
            ],
        ),
    }


def looks_good(now: float) -> dict:
    return {
        **running(now),
        "outlook": "looks_good",
        "headline": "phase-3 looks good: its P95 is 4 % higher than stable's (limit 20 %); "
        "step 2 of 3 ends in about 3 min.",
        "guardrails": healthy_guardrails(),
        "next": next_step(now),
    }


def leaning_to_fail(now: float) -> dict:
    rollback = {
        "guardrail": "inference",
        "fraction": 0.83,
        "expected_at": now + 4,
        "text": "P95 in the engine: 83 % of a fail",
    }
    return {
        **running(now),
        "outlook": "leaning_to_fail",
        "headline": "phase-3 leans to fail: its P95 in the engine is 4.7 times stable's "
        "(103 ms against 21.9 ms, limit 1.2).",
        "guardrails": failing_guardrails(),
        "next": next_step(
            now,
            action="roll_back",
            text="The canary is rolled back when the evidence is complete, in about 4 s. "
            "25 % of new requests are affected until then. Nothing for you to do.",
            weight_percent=0.0,
            expected_at=now + 4,
            rollback=rollback,
        ),
    }


def needs_you(now: float) -> dict:
    return {
        **running(now, 2),
        "phase": "Paused",
        "reason": "approval",
        "legal": ["abort", "promote"],
        "outlook": "needs_you",
        "headline": "phase-3 has passed step 3 of 3 and waits for your approval; it aborts at the "
        "deadline in 24 h.",
        "guardrails": healthy_guardrails(1.0),
        "next": {
            **NEXT,
            "action": "person",
            "text": "Promote to make phase-3 stable, or abort.",
            "weight_percent": 100.0,
            "waiting_for": ["approval"],
            "deadline_at": now + 86_400,
            "on_deadline": "abort",
            "conditions": [condition("approval", "a person promotes", 0.0, "person")],
        },
    }


def blind(now: float) -> dict:
    unread = [
        {**one, "standing": "no_data", "interval": None, "difference": None, "canary": None}
        for one in too_early(now)["guardrails"]
    ]
    return {
        **running(now),
        "outlook": "blind",
        "headline": "phase-3 cannot be judged: it has had no request for 2 min.",
        "guardrails": [{**one, "progress": {"pass": 0.0, "fail": 0.0}} for one in unread],
        "next": next_step(
            now,
            text="Check that callers send requests. Without any, the rollout pauses at the "
            "deadline.",
            expected_at=None,
            earliest_at=None,
            conditions=[condition("canary_samples", "0 of 500 canary requests", 0.0)],
        ),
    }


def paused(now: float) -> dict:
    return {
        **running(now),
        "phase": "Paused",
        "reason": "by_hand",
        "legal": ["abort", "promote", "resume"],
        "outlook": "paused",
        "headline": "phase-3 is paused by alice at 25 %.",
        "actor": "alice",
        "note": "lunch",
        "guardrails": healthy_guardrails(),
        "next": {
            **NEXT,
            "action": "person",
            "text": "Resume to continue, or abort. Guardrails keep running.",
            "waiting_for": ["resume"],
            "deadline_at": now + 86_000,
            "on_deadline": "abort",
        },
    }


def rolled_back(now: float) -> dict:
    return {
        **BASE,
        "phase": "RolledBack",
        "reason": "guardrail_failed",
        "since": now - 300,
        "looked_at": now - 300,
        "legal": ["retry", "start"],
        "outlook": "rolled_back",
        "headline": "phase-3 was rolled back: its P95 in the engine was 4.7 times stable's (103 ms "
        "against 21.9 ms, limit 1.2).",
        "guardrails": failing_guardrails(1.0),
        "next": {**NEXT, "text": "phase-2 has all traffic. Find the cause before the next start."},
    }


def stopped(now: float) -> dict:
    return {
        **BASE,
        "phase": "RolledBack",
        "reason": "aborted",
        "since": now - 300,
        "looked_at": now - 301,
        "legal": ["retry", "start"],
        "outlook": "stopped",
        "headline": "alice stopped the rollout of phase-3: phase-2 has all traffic.",
        "actor": "alice",
        "note": "wrong version",
        "guardrails": healthy_guardrails(),
        "next": {**NEXT, "text": "Nothing is wrong. Retry phase-3, or start another version."},
    }


def promoted(now: float) -> dict:
    return {
        **BASE,
        "reason": "promoted",
        "stable": "phase-3",
        "canary": None,
        "previous": "phase-2",
        "since": now - 60,
        "legal": ["start", "undo"],
        "outlook": "promoted",
        "headline": "phase-3 is stable: it has all traffic.",
        "actor": "bob",
        "next": {**NEXT, "text": "phase-2 is kept: undo brings it back at once."},
    }


def shadow(now: float) -> dict:
    copies = {"answered": 412, "failed": 0, "dropped": 31}
    inference = {
        "mode": "step",
        "p95_seconds": {"canary": 0.0031, "stable": 0.0029},
        "ratio": 1.07,
        "pairs": 380,
    }
    return {
        **running(now, 0),
        "plan": SHADOW_PLAN.model_dump(mode="json"),
        "steps": 4,
        "weight": {"set_percent": 0.0, "actual_percent": 0.0},
        "outlook": "looks_good",
        "headline": "phase-3 looks good in the shadow step: 412 of 500 copies answered, none "
        "failed.",
        "shadow": {"copies": copies, "agreement": 0.914, "inference": [inference]},
        "next": next_step(
            now,
            text="Step 2 of 4 (5 %) begins after 500 copies and 2 min.",
            weight_percent=5.0,
            conditions=[
                condition("dwell", "45 s of 2 min in the shadow", 0.375, "seconds"),
                condition("canary_samples", "412 of 500 copies", 0.82, "copies"),
            ],
        ),
    }


STATES: dict[str, Callable[[float], dict]] = {
    made.__name__: made
    for made in (
        idle,
        preparing,
        warming_up,
        too_early,
        looks_good,
        leaning_to_fail,
        needs_you,
        blind,
        paused,
        rolled_back,
        stopped,
        promoted,
        shadow,
    )
}


def history(now: float) -> list[dict]:
    """Four rows of the audit log; the reason in one is hostile."""
    rows = (
        (45, "controller", "step_passed", "Progressing", 25, "", "Step 1 passed: 25 % now."),
        (200, "controller", "warmed_up", "Progressing", 5, "", "Warmed up in 30 s."),
        (235, "controller", "prepared", "WarmingUp", 5, "", "phase-3 is loaded."),
        (237, "alice", "start", "Pending", 0, "<b>longer</b> context", "Loading phase-3."),
    )
    return [
        {
            "id": 9 - i,
            "at": now - ago,
            "generation": 7 - i,
            "actor": actor,
            "reason": reason,
            "note": note,
            "from": "Progressing" if reason == "step_passed" else "Healthy",
            "to": target,
            "step": 0,
            "weight_percent": weight,
            "stable": "phase-2",
            "canary": "phase-3",
            "message": "ln E reached 5.01 ≥ ln(1/0.0075) = 4.89",
            "headline": headline,
            "evidence": healthy_guardrails() if reason == "step_passed" else None,
            "gate_missed": None,
        }
        for i, (ago, actor, reason, target, weight, note, headline) in enumerate(rows)
    ]


def timeline(now: float, status: dict) -> dict:
    """Ten minutes of points; a canary that fails is slower from the last change on."""
    slow = 4.7 if status["outlook"] in {"leaning_to_fail", "rolled_back"} else 1.04
    begun = now - 200
    points = []
    for i in range(120):
        at = now - 600 + 5 * i
        wave = 1 + 0.15 * math.sin(i / 7)
        canary = at > begun and status["canary"] is not None and status["step"] is not None
        factor = slow if at > now - 45 else 1.04

        def arm(times: float, rate: float, wave: float = wave) -> dict:
            return {
                "requests_per_second": rate * wave,
                "p50_seconds": 0.004 * wave * times,
                "p95_seconds": 0.0073 * wave * times,
                "p99_seconds": 0.016 * wave * times,
            }

        weight = (25.0 if at > now - 45 else 5.0) if canary else 0.0
        points.append(
            {
                "at": at,
                "weight_percent": weight,
                "stable": arm(1.0, 50 * (1 - weight / 100)),
                "canary": arm(factor, 50 * weight / 100) if canary and weight else None,
            }
        )
    return {"interval_seconds": 5.0, "window_seconds": 30.0, "points": points}


VERSIONS = [
    {
        "version": name,
        "loaded": loaded,
        "architecture": "memory_augmented_gru",
        "parameters": 11_292_160,
        "context_window": window,
        "step_p95_ms": step,
        "hit_at_5": hit,
        "bytes": 56_700_000,
    }
    for name, loaded, window, step, hit in (
        ("phase-2", True, 500, 0.86, {"value": 0.38, "low": 0.326, "high": 0.43}),
        ("phase-3", True, 1000, 0.91, {"value": 0.377, "low": 0.325, "high": 0.427}),
        ("phase-4", False, 1000, None, None),
    )
] + [{"version": "phase-5", "loaded": False, "problem": "manifest.json: is not JSON"}]
