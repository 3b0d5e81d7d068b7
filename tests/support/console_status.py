"""A rollout's status without a rollout, for the states of the console to begin with."""

from __future__ import annotations

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
