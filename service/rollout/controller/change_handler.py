"""Handles what a person requests: start, retry, promote, pause, resume, abort, undo."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace

import orjson

from service.clock import Clock
from service.errors import (
    AbortNotStored,
    Invalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
)
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.completion import run_to_completion
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.status import status
from service.rollout.controller.versions import VersionsPort
from service.rollout.outlook.headline import with_headline
from service.rollout.plan.gate import gate_conflict
from service.rollout.plan.plan_floor import PlanFloor, require_floor
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.audit import audit_row
from service.rollout.state.change import preview
from service.rollout.state.change_request import (
    DEFAULT_OPTIONS,
    ChangeOptions,
    IdempotentResponse,
)
from service.rollout.state.events import (
    AbortCommand,
    Command,
    PauseCommand,
    Phase,
    PromoteCommand,
    ResumeCommand,
    StartCommand,
    UndoCommand,
    Verb,
)
from service.rollout.state.rollout_state import RolloutState, legal_verbs, require_legal
from service.rollout.storage.rollout_store import RolloutStore

Response = dict[str, object]


class ChangeHandler:
    """Checks each request, applies it, and returns the status after it.

    With `options`, a request may be a dry run or carry an idempotency key. Every method raises
    `Conflict` when the request is not legal now, `PreconditionRequired` or
    `PreconditionFailed` for the expected generation, `Invalid` for a key of another request,
    and `StoreError`; then nothing has changed.
    """

    def __init__(
        self,
        executor: ChangeExecutor,
        loader: CanaryLoader,
        *,
        versions: VersionsPort,
        store: RolloutStore,
        clock: Clock,
        default_plan: RolloutPlan,
        floor: PlanFloor,
        interval_seconds: float,
    ) -> None:
        self._executor = executor
        self._loader = loader
        self._versions = versions
        self._store = store
        self._clock = clock
        self._default_plan = default_plan
        self._floor = floor
        self._interval_seconds = interval_seconds

    async def start(
        self,
        canary: str,
        plan: RolloutPlan | None,
        actor: str,
        reason: str = "",
        expected_generation: int | None = None,
        options: ChangeOptions = DEFAULT_OPTIONS,
        *,
        override_gate: bool = False,
        may_approve: bool = False,
    ) -> Response:
        """Start a rollout. Returns in `Pending`; the canary is loaded in the background.

        The gate of `plan` can be stricter than the default plan's, not looser.
        `override_gate` starts a canary that misses the gate; the audit log keeps what it
        missed. `may_approve` says whether the actor is an approver, who may start a plan
        without an approval. Also raises `Invalid` with code `below_floor` for a plan below the
        service's floor, `Conflict` with code `gate_missed`, `Invalid` when the canary is
        the stable version, `NotFound` when it is not in the repository, and `VersionError`
        when its manifest is damaged.
        """

        def command(_: RolloutState) -> StartCommand:
            salt = secrets.token_hex(16)
            return StartCommand(canary, plan or self._default_plan, salt, actor, reason)

        return await run_to_completion(
            self._start(
                command,
                expected_generation,
                options,
                override_gate=override_gate,
                may_approve=may_approve,
            )
        )

    async def retry(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
        *,
        may_approve: bool = False,
    ) -> Response:
        """Start the canary that was rolled back again, with the same plan. Raises as `start`."""

        def command(last: RolloutState) -> StartCommand:
            self._check_generation(expected_generation)
            require_legal(last, Verb.RETRY)
            assert last.canary is not None
            assert last.plan is not None
            salt = secrets.token_hex(16)
            return StartCommand(last.canary, last.plan, salt, actor, reason, retry=True)

        return await run_to_completion(
            self._start(command, expected_generation, options, may_approve=may_approve)
        )

    async def promote(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
        *,
        force: bool = False,
    ) -> Response:
        """Approve the current step: go to the next one, or promote the canary from the last.

        Raises `Conflict` with code `guardrails_not_passed` before the guardrails have passed,
        unless `force` is given, which the audit log records.
        """
        command = PromoteCommand(actor, reason, force)
        return await run_to_completion(self._change(command, expected_generation, options))

    async def pause(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
    ) -> Response:
        """Hold the weight. The guardrails are still evaluated."""
        command = PauseCommand(actor, reason)
        return await run_to_completion(self._change(command, expected_generation, options))

    async def resume(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
    ) -> Response:
        """End a pause. A pause for approval ends with `promote` instead."""
        command = ResumeCommand(actor, reason)
        return await run_to_completion(self._change(command, expected_generation, options))

    async def undo(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
    ) -> Response:
        """Make the stable version from before the last promotion stable again, in one move."""
        command = UndoCommand(actor, reason)
        return await run_to_completion(self._change(command, expected_generation, options))

    async def abort(
        self,
        expected_generation: int | None,  # noqa: ARG002 - the same signature for every verb
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
    ) -> Response:
        """Roll the canary back, whatever else is going on and whatever generation was seen.

        A stored response is returned only when there is nothing left to abort: an idempotency
        key must not keep a canary in traffic. Raises `AbortNotStored` when the abort has taken
        effect and a restart would undo it.
        """
        command = AbortCommand(actor, reason)
        if Verb.ABORT not in legal_verbs(self._executor.rollout):
            if (stored := await self._stored_response(options)) is not None:
                return stored
            ended = self._executor.rollout.phase is Phase.ROLLED_BACK
            if not ended or self._executor.recorded or options.dry_run:
                require_legal(self._executor.rollout, Verb.ABORT)
            return await run_to_completion(self._store_abort())
        if options.dry_run:
            async with self._executor.lock:
                return await self._apply(command, options)
        self._executor.withhold_canary()
        return await run_to_completion(self._abort(command, options))

    async def _abort(self, command: AbortCommand, options: ChangeOptions) -> Response:
        try:
            async with self._executor.lock:
                if self._executor.rollout.phase is not Phase.ROLLED_BACK:
                    response = await self._apply(command, options)
                    self._check_stored()
                    return {**response, "recorded": self._executor.recorded}
        finally:
            self._executor.restore_canary()
        return self._executor.status()

    async def _store_abort(self) -> Response:
        """Try again to store an abort or a rollback that is in effect already."""
        async with self._executor.lock:
            await self._executor.retry_save()
            self._check_stored()
            return self._executor.status()

    def _check_stored(self) -> None:
        if not self._executor.survives_restart:
            raise AbortNotStored(
                "the abort is in effect, but it cannot be stored: a restart would give the canary "
                "its traffic back; free disk space, and repeat the abort until it succeeds"
            )

    async def _start(
        self,
        make_command: Callable[[RolloutState], StartCommand],
        expected_generation: int | None,
        options: ChangeOptions,
        *,
        override_gate: bool = False,
        may_approve: bool = False,
    ) -> Response:
        async with self._executor.lock:
            if (stored := await self._stored_response(options)) is not None:
                return stored
            if expected_generation is not None:
                self._check_generation(expected_generation)
            rollout = self._executor.rollout
            command = make_command(rollout)
            require_legal(rollout, Verb.START)
            self._check_canary(command.canary, rollout.stable)
            plan = command.plan.with_floor(self._default_plan.gate)
            self._check_deadline(plan)
            require_floor(plan, self._floor.without_approval() if may_approve else self._floor)
            missed = await self._loader.gate_misses(plan, command.canary)
            if missed and not override_gate:
                raise gate_conflict(command.canary, missed)
            return await self._apply(replace(command, plan=plan, missed=missed), options)

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

    async def _change(
        self,
        command: PromoteCommand | PauseCommand | ResumeCommand | UndoCommand,
        expected_generation: int | None,
        options: ChangeOptions,
    ) -> Response:
        async with self._executor.lock:
            if (stored := await self._stored_response(options)) is not None:
                return stored
            self._check_generation(expected_generation)
            return await self._apply(command, options)

    async def _stored_response(self, options: ChangeOptions) -> Response | None:
        """The response to an earlier request with the same key, if there was one."""
        request = options.request
        if request is None or options.dry_run:
            return None
        found = await asyncio.to_thread(self._store.response, request.actor, request.key)
        return None if found is None else found.replay(request)

    async def _apply(self, command: Command, options: ChangeOptions) -> Response:
        """Apply the command, or report what it would do. The caller holds the lock."""
        change = preview(self._executor.record, command, self._clock.time())
        response = status(change.record, recorded=True)
        _require_json(response)
        if options.dry_run:
            rows = [audit_row(transition, []) for transition in change.transitions]
            rows = list(with_headline(rows, change.record))
            return {**response, "dry_run": True, "transitions": rows}
        if options.request is None:
            await self._executor.apply(command)
            return self._executor.status()
        await self._executor.apply(command, [IdempotentResponse(options.request, response)])
        return response

    def _check_generation(self, expected: int | None) -> None:
        current = self._executor.rollout.generation
        if expected is None:
            raise PreconditionRequired(
                f'send If-Match with the generation you have seen; it is "{current}" now'
            )
        if expected != current:
            raise PreconditionFailed(
                f"the rollout is at generation {current}, not {expected}; read the status again"
            )


def _require_json(response: Response) -> None:
    """Raise `Invalid`, before anything has changed, if the status could not be sent."""
    try:
        orjson.dumps(response)
    except TypeError as error:
        raise Invalid(f"the request has a value that no response can hold: {error}") from error
