"""A status document of the admin API."""

from __future__ import annotations


def status(**changes):
    """A rollout on its first step, with some fields changed."""
    return {
        "phase": "Progressing",
        "reason": "warmed_up",
        "message": "warm after 5 s",
        "generation": 3,
        "stable": "phase-2",
        "canary": "phase-3",
        "previous": None,
        "step": 0,
        "steps": 2,
        "weight": {"set_percent": 25.0, "actual_percent": None},
        "since": 1.0,
        "step_since": 1.0,
        "looked_at": 2.0,
        "legal": ["abort", "pause", "promote"],
        "plan": {},
        "recorded": True,
        "guardrails": [
            {
                "name": "latency",
                "outcome": "inconclusive",
                "message": "inconclusive: ln E = 1.20 for a fail",
                "ratio": 1.9,
                "threshold": 1.2,
                "log_evidence": {"fail": 1.2, "pass": -0.5, "bound": 4.605},
                "samples": {"canary": 30, "stable": 90},
                "p95_seconds": {"canary": 0.25, "stable": 0.13},
                "strata": [],
            }
        ],
        **changes,
    }
