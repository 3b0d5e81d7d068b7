"""Handles what a person requests: start, retry, promote, pause, resume, abort, undo."""

from __future__ import annotations

import secrets

from service.errors import AbortNotStored
from service.rollout.controller.completion import run_to_completion
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.request_application import (
    RequestApplication,
    Response,
    require_generation,
)
from service.rollout.controller.start_rules import StartRules
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.change_request import DEFAULT_OPTIONS, ChangeOptions
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
from service.rollout.storage.errors import RecordConflict


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
        application: RequestApplication,
        rules: StartRules,
        default_plan: RolloutPlan,
    ) -> None:
        """`default_plan` is that of a start without a plan."""
        self._executor = executor
        self._application = application
        self._rules = rules
        self._default_plan = default_plan

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

        async def decide(rollout: RolloutState) -> Command:
            if expected_generation is not None:
                require_generation(rollout, expected_generation)
            salt = secrets.token_hex(16)
            command = StartCommand(canary, plan or self._default_plan, salt, actor, reason)
            return await self._rules.check(
                command, rollout, override_gate=override_gate, may_approve=may_approve
            )

        return await self._application.run(decide, options)

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

        async def decide(last: RolloutState) -> Command:
            require_generation(last, expected_generation)
            require_legal(last, Verb.RETRY)
            assert last.canary is not None
            assert last.plan is not None
            salt = secrets.token_hex(16)
            command = StartCommand(last.canary, last.plan, salt, actor, reason, retry=True)
            return await self._rules.check(
                command, last, override_gate=False, may_approve=may_approve
            )

        return await self._application.run(decide, options)

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
        return await self._change(command, expected_generation, options)

    async def pause(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
    ) -> Response:
        """Hold the weight. The guardrails are still evaluated."""
        command = PauseCommand(actor, reason)
        return await self._change(command, expected_generation, options)

    async def resume(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
    ) -> Response:
        """End a pause. A pause for approval ends with `promote` instead."""
        command = ResumeCommand(actor, reason)
        return await self._change(command, expected_generation, options)

    async def undo(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        options: ChangeOptions = DEFAULT_OPTIONS,
    ) -> Response:
        """Make the stable version from before the last promotion stable again, in one move."""
        command = UndoCommand(actor, reason)
        return await self._change(command, expected_generation, options)

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
        if Verb.ABORT in legal_verbs(self._executor.rollout) and not options.dry_run:
            # Before anything can wait: for the lock, for the store, for another replica.
            self._executor.withhold_canary()
            return await run_to_completion(self._abort_withheld(command, options))
        return await run_to_completion(self._abort(command, options))

    async def _abort_withheld(self, command: AbortCommand, options: ChangeOptions) -> Response:
        try:
            async with self._executor.lock:
                if self._executor.rollout.phase is Phase.ROLLED_BACK:
                    return self._executor.status()  # a rollback was faster
                return await self._apply_abort(command, options)
        finally:
            self._executor.restore_canary()

    async def _abort(self, command: AbortCommand, options: ChangeOptions) -> Response:
        async with self._executor.lock:
            ended = self._executor.rollout.phase is Phase.ROLLED_BACK
            if ended and not self._executor.recorded and not options.dry_run:
                return await self._store_abort()
            if Verb.ABORT not in legal_verbs(self._executor.rollout):
                # Another replica may have started a rollout a moment ago.
                await self._application.refresh()
            if Verb.ABORT in legal_verbs(self._executor.rollout):
                return await self._apply_abort(command, options)
            if (stored := await self._application.stored_response(options)) is not None:
                return stored
            require_legal(self._executor.rollout, Verb.ABORT)
            return self._executor.status()

    async def _apply_abort(self, command: AbortCommand, options: ChangeOptions) -> Response:
        while True:
            try:
                response = await self._application.apply(command, options)
            except RecordConflict:
                if Verb.ABORT in legal_verbs(self._executor.rollout):
                    continue
                return self._executor.status()  # another replica has ended the rollout
            if options.dry_run:
                return response
            self._check_stored()
            return {**response, "recorded": self._executor.recorded}

    async def _store_abort(self) -> Response:
        """Try again to store an abort or a rollback that is in effect already."""
        await self._executor.retry_save()
        self._check_stored()
        return self._executor.status()

    def _check_stored(self) -> None:
        if not self._executor.survives_restart:
            raise AbortNotStored(
                "the abort is in effect, but it cannot be stored: a restart would give the canary "
                "its traffic back; free disk space, and repeat the abort until it succeeds"
            )

    async def _change(
        self, command: Command, expected_generation: int | None, options: ChangeOptions
    ) -> Response:
        async def decide(rollout: RolloutState) -> Command:
            require_generation(rollout, expected_generation)
            return command

        return await self._application.run(decide, options)
