"""Statuses of a rollout as the console may find them: one function a state, by name in `STATES`."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.console_guardrails import (
    condition,
    failing_guardrails,
    healthy_guardrails,
)
from tests.support.console_status import BASE, NEXT, PLAN, SHADOW_PLAN


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
            condition(
                "guardrail:latency", "P95 latency: 61 % of the way to a pass", 0.61, "evidence"
            ),
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
        "headline": "phase-3 is being loaded; it has no traffic yet.",
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
        "headline": "phase-3 warms up on 5 % of new requests: 12 of 30 s warm-up and 24 of 50 "
        "warm-up requests.",
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
        "headline": "It is too early to judge phase-3 at 25 %: P95 latency has 5 % of the "
        "evidence for a pass; step 2 of 3 (25 %) waits for canary requests and P95 latency.",
        "guardrails": collecting,
        "next": next_step(
            now,
            expected_at=None,
            conditions=[
                condition("dwell", "4 s of 2 min at this weight", 0.03, "seconds"),
                condition("canary_samples", "40 of 500 canary requests", 0.08),
                condition("stable_samples", "160 of 500 stable requests", 0.32),
                condition(
                    "guardrail:latency", "P95 latency: 5 % of the way to a pass", 0.05, "evidence"
                ),
            ],
        ),
    }


def looks_good(now: float) -> dict:
    return {
        **running(now),
        "outlook": "looks_good",
        "headline": "phase-3 looks good: its P95 is 4 % higher than stable's (up to 20 % higher "
        "is allowed); "
        "step 2 of 3 ends in about 3 min.",
        "guardrails": healthy_guardrails(),
        "next": next_step(now),
    }


def leaning_to_fail(now: float) -> dict:
    rollback = {
        "guardrail": "inference",
        "fraction": 0.83,
        "expected_at": now + 4,
        "text": "P95 in the engine: 83 % of the way to a fail",
    }
    return {
        **running(now),
        "outlook": "leaning_to_fail",
        "headline": "phase-3 looks too slow: its P95 in the engine is 4.7 times stable's "
        "(103 ms against 21.9 ms; up to 1.2 times is allowed).",
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
        "headline": "phase-3 has passed step 3 of 3 (50 %) and waits for your approval; without an "
        "answer it is rolled back in 24 h.",
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
        "headline": "phase-3 is not being judged: no request has reached it for 2 min.",
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
        "headline": "phase-3 is paused by alice in step 2 of 3 (25 %), saying “lunch”; without an "
        "answer "
        "it is rolled back in 23 h 53 min.",
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
        "headline": "phase-3 was rolled back in step 2 of 3 (25 %) because it was too slow: its "
        "P95 in "
        "the engine is 4.7 times stable's (103 ms against 21.9 ms; up to 1.2 times is allowed).",
        "guardrails": failing_guardrails(1.0),
        "next": {
            **NEXT,
            "text": "phase-2 has all traffic. Nothing is urgent: find the cause before you retry "
            "phase-3.",
        },
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
        "headline": "phase-3 was stopped by alice in step 2 of 3 (25 %), saying “wrong version”; "
        "phase-2 "
        "has all traffic.",
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
        "headline": "phase-3 is stable and has all traffic.",
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
        "headline": "phase-3 works on copies of requests: its P95 in the engine is 7 % higher than "
        "stable's on the same requests (up to 5 times is allowed); step 1 of 4 (copies of "
        "requests) ends in about 75 s.",
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
        *(idle, preparing, warming_up, too_early, looks_good, leaning_to_fail, needs_you),
        *(blind, paused, rolled_back, stopped, promoted, shadow),
    )
}
