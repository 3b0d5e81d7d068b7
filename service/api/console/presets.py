"""Plans that the start form offers, with the least time that each takes."""

from __future__ import annotations

from service.rollout.plan.rollout_plan import PlanStep, RolloutPlan

_QUICK = RolloutPlan(
    steps=(
        PlanStep(weight=10, min_dwell_seconds=60, min_samples=200),
        PlanStep(weight=50, min_dwell_seconds=60, min_samples=200, approval=True),
    ),
    warm_up_seconds=30,
)
_CAREFUL = RolloutPlan(
    steps=(
        PlanStep(shadow=True, min_dwell_seconds=600),
        PlanStep(weight=1, min_dwell_seconds=1800),
        PlanStep(weight=5, min_dwell_seconds=1800),
        PlanStep(weight=25, min_dwell_seconds=3600),
        PlanStep(weight=50, min_dwell_seconds=3600),
        PlanStep(weight=100, min_dwell_seconds=1800, approval=True),
    ),
    warm_up_seconds=120,
    deadline_seconds=6 * 3600,
)


def presets(default: RolloutPlan) -> list[dict[str, object]]:
    """The presets as JSON, `default` first. `plan` is null where the service's own is meant."""
    return [
        _preset("default", "The service's plan", default, own=True),
        _preset("quick", "Quick: two steps", _QUICK),
        _preset("careful", "Careful: small steps, hours", _CAREFUL),
    ]


def least_seconds(plan: RolloutPlan) -> float:
    """The time that a rollout takes if no step waits for evidence or for a person."""
    return plan.warm_up_seconds + sum(step.min_dwell_seconds for step in plan.steps)


def _preset(name: str, title: str, plan: RolloutPlan, *, own: bool = False) -> dict[str, object]:
    steps = [
        {"weight_percent": step.weight, "shadow": step.shadow, "approval": step.approval}
        for step in plan.steps
    ]
    return {
        "name": name,
        "title": title,
        "least_seconds": least_seconds(plan),
        "steps": steps,
        "plan": None if own else plan.model_dump(mode="json", exclude_unset=True),
    }
