"""What a canary and its plan must fulfil before a rollout starts."""

from __future__ import annotations

from dataclasses import replace

from service.errors import Invalid, NotFound
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.versions import VersionsPort
from service.rollout.plan.gate import gate_conflict
from service.rollout.plan.plan_floor import PlanFloor, require_floor
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.events import StartCommand, Verb
from service.rollout.state.rollout_state import RolloutState, require_legal


class StartRules:
    """Checks a start against the repository, the gate and the floor."""

    def __init__(
        self,
        loader: CanaryLoader,
        versions: VersionsPort,
        *,
        default_plan: RolloutPlan,
        floor: PlanFloor,
        interval_seconds: float,
    ) -> None:
        """The gate of a plan can be stricter than that of `default_plan`, not looser."""
        self._loader = loader
        self._versions = versions
        self._default_plan = default_plan
        self._floor = floor
        self._interval_seconds = interval_seconds

    async def check(
        self,
        command: StartCommand,
        rollout: RolloutState,
        *,
        override_gate: bool,
        may_approve: bool,
    ) -> StartCommand:
        """The command with the plan that counts, and with the gate criteria it overrides.

        Raises as `ChangeHandler.start` does.
        """
        require_legal(rollout, Verb.START)
        self._check_canary(command.canary, rollout.stable)
        plan = command.plan.with_floor(self._default_plan.gate)
        self._check_deadline(plan)
        require_floor(plan, self._floor.without_approval() if may_approve else self._floor)
        missed = await self._loader.gate_misses(plan, command.canary)
        if missed and not override_gate:
            raise gate_conflict(command.canary, missed)
        return replace(command, plan=plan, missed=missed)

    def _check_deadline(self, plan: RolloutPlan) -> None:
        if plan.deadline_seconds <= self._interval_seconds:
            raise Invalid(
                f"plan.deadline_seconds is {plan.deadline_seconds:g}; it must be above "
                f"rollout.interval_seconds, {self._interval_seconds:g}, because a step that is "
                "never evaluated cannot end",
                "plan",
            )

    def _check_canary(self, canary: str, stable: str) -> None:
        if canary == stable:
            raise Invalid(f"canary: {canary} is the stable version; name another one", "canary")
        available = self._versions.available()
        if canary not in available:
            others = ", ".join(sorted(available - {stable})) or "none"
            raise NotFound(
                f"{canary} is not in the repository; available: {others}", "version_not_found"
            )
