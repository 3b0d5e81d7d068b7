"""What the console shows besides the status: audit log, past minutes, versions."""

from __future__ import annotations

import math

from tests.support.console_guardrails import healthy_guardrails


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
