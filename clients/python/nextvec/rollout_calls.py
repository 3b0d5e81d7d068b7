"""The rollout, with blocking calls."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from nextvec import rollouts
from nextvec.blocking import BlockingRunner
from nextvec.rollout_status import AuditEntry, RolloutStatus
from nextvec.rollouts import RolloutChange


class RolloutCalls:
    """The rollout of a service. Every change returns the status after it.

    A change with `dry_run` is a preview: nothing changes, and `transitions` says what would.
    `generation` is that of the status you decided on: if the rollout has changed since, the change
    is refused (`StaleGenerationError`). Without it, the change is based on the present status.
    """

    def __init__(self, run: BlockingRunner) -> None:
        self._run = run

    def status(self) -> RolloutStatus:
        """Read the status. Role: viewer."""
        return self._run(rollouts.status(self._run.budget()))

    def history(self, limit: int = 100) -> list[AuditEntry]:
        """Read the last `limit` entries of the audit log, newest first. Role: viewer."""
        return self._run(rollouts.history(limit, self._run.budget()))

    def start(
        self,
        canary: str,
        *,
        plan: Mapping[str, Any] | None = None,
        reason: str = "",
        override_gate: bool = False,
        dry_run: bool = False,
    ) -> RolloutStatus:
        """Start a rollout of the version `canary`. Role: operator, or approver to override.

        `plan` has the fields of a plan file; without it, the service's own plan applies.
        """
        body = rollouts.start_body(canary, plan, reason, override_gate=override_gate)
        return self._change("start", body, dry_run=dry_run)

    def promote(
        self,
        *,
        reason: str = "",
        force: bool = False,
        generation: int | None = None,
        dry_run: bool = False,
    ) -> RolloutStatus:
        """Approve the step; on the last one, make the canary stable. Role: approver.

        With `force`, the guardrails need not have passed.
        """
        body = {"reason": reason}
        return self._change("promote", body, generation, force=force, dry_run=dry_run)

    def pause(
        self, *, reason: str = "", generation: int | None = None, dry_run: bool = False
    ) -> RolloutStatus:
        """Hold the weight; the guardrails keep running. Role: operator."""
        return self._change("pause", {"reason": reason}, generation, dry_run=dry_run)

    def resume(
        self, *, reason: str = "", generation: int | None = None, dry_run: bool = False
    ) -> RolloutStatus:
        """Continue after a pause. Role: approver."""
        return self._change("resume", {"reason": reason}, generation, dry_run=dry_run)

    def abort(self, *, reason: str = "", dry_run: bool = False) -> RolloutStatus:
        """Send all traffic to stable now. Role: operator."""
        return self._change("abort", {"reason": reason}, dry_run=dry_run)

    def retry(
        self, *, reason: str = "", generation: int | None = None, dry_run: bool = False
    ) -> RolloutStatus:
        """Start the canary that was rolled back again, with its plan. Role: operator."""
        return self._change("retry", {"reason": reason}, generation, dry_run=dry_run)

    def undo(
        self, *, reason: str = "", generation: int | None = None, dry_run: bool = False
    ) -> RolloutStatus:
        """Bring back the stable version from before the last promotion. Role: approver."""
        return self._change("undo", {"reason": reason}, generation, dry_run=dry_run)

    def wait(
        self,
        timeout: float,
        *,
        poll: float = 1.0,
        on_change: Callable[[RolloutStatus], None] | None = None,
    ) -> RolloutStatus:
        """Wait until the rollout ends or pauses, and return its status.

        Look at `is_rolled_back`, `is_paused` and `stable` of the result. `on_change` is called with
        the first status and after every change. A service that restarts is waited for. Raises
        `WaitTimeoutError` after `timeout` seconds. Role: viewer.
        """
        ends = self._run.options.now() + timeout
        return self._run(rollouts.wait(self._run.budget, ends, poll, on_change))

    def _change(
        self,
        verb: str,
        body: Mapping[str, Any],
        generation: int | None = None,
        *,
        force: bool = False,
        dry_run: bool = False,
    ) -> RolloutStatus:
        key = uuid.uuid4().hex
        wanted = RolloutChange(verb, body, key, generation, force=force, dry_run=dry_run)
        return self._run(rollouts.change(wanted, self._run.budget()))
