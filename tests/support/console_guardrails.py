"""Guardrails and conditions in the form of the status, for states of the console."""

from __future__ import annotations


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
    high = 1.148 if passed else 1.315
    latency = guardrail(
        "latency",
        "P95 latency",
        "passed" if passed else "leaning_to_pass",
        f"P95 is 4 % higher than stable's; {100 * share:.0f} % of the evidence for a pass.",
        effect="must_pass",
        stable=0.0073,
        canary=0.0076,
        difference=1.041,
        interval=interval(0.913, high, f"between 0.91 and {high:.3g} times stable's"),
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
