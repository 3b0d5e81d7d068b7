"""What a person may ask of the rollout: start, retry, promote, pause, resume, abort, undo."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from service.clock import Clock
from service.errors import Invalid, NotFound, PreconditionFailed, PreconditionRequired
from service.rollout.analysis.run import last_assessment
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.executor import RolloutExecutor, carried
from service.rollout.controller.status import status
from service.rollout.controller.versions import VersionsPort
from service.rollout.plan import gate
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.rollout.state.audit import audit_row
from service.rollout.state.change_request import (
    DEFAULT_OPTIONS,
    ChangeOptions,
    IdempotentResponse,
    preview,
)
from service.rollout.state.events import (
    AbortCommand,
    Event,
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

T = TypeVar("T")


class ChangeHandler:
    """Each checks what was seen, moves the machine, and answers the status.

    By its `terms` a verb only says what would happen, or is answered again as it was.
    All raise `Conflict` where they are not legal, `PreconditionRequired` or
    `PreconditionFailed` for the generation, `Invalid` for the key of another call, and
    `StoreError`; then nothing has changed.
    """

    def __init__(
        self,
        machine: RolloutExecutor,
        loader: CanaryLoader,
        *,
        traffic: TrafficRouter,
        versions: VersionsPort,
        store: RolloutStore,
        clock: Clock,
        plan: RolloutPlan,
    ) -> None:
        self._machine = machine
        self._loader = loader
        self._traffic = traffic
        self._versions = versions
        self._store = store
        self._clock = clock
        self._plan = plan

    async def start_rollout(
        self,
        canary: str,
        plan: RolloutPlan | None,
        actor: str,
        reason: str = "",
        expected_generation: int | None = None,
        terms: ChangeOptions = DEFAULT_OPTIONS,
        *,
        override_gate: bool = False,
    ) -> dict[str, object]:
        """Begin: answers at once in `Pending`, loading goes on in the background.

        A plan's gate can be stricter than that of the service's own plan, not looser.
        `override_gate` starts a canary that misses it; what it misses is recorded.
        Raises `Conflict` with code `gate_missed` for the gate, and `Invalid` (canary is
        stable), `NotFound` (not in the repository) and `VersionError` (its manifest is
        damaged) as well.
        """

        def event(_: RolloutState) -> StartCommand:
            return StartCommand(canary, plan or self._plan, secrets.token_hex(16), actor, reason)

        return await run_to_completion(
            self._begin(event, expected_generation, terms, override_gate=override_gate)
        )

    async def retry(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        terms: ChangeOptions = DEFAULT_OPTIONS,
    ) -> dict[str, object]:
        """The canary that was rolled back, with its plan, once more. Raises as a start."""

        def event(last: RolloutState) -> StartCommand:
            self._check(expected_generation)
            require_legal(last, Verb.RETRY)
            assert last.canary is not None
            assert last.plan is not None
            return StartCommand(
                last.canary, last.plan, secrets.token_hex(16), actor, reason, retry=True
            )

        return await run_to_completion(self._begin(event, expected_generation, terms))

    async def _begin(
        self,
        event: Callable[[RolloutState], StartCommand],
        expected: int | None,
        terms: ChangeOptions,
        *,
        override_gate: bool = False,
    ) -> dict[str, object]:
        async with self._machine.lock:
            if (said := await self._said(terms)) is not None:
                return said
            if expected is not None:
                self._check(expected)
            rollout = self._machine.rollout
            start = event(rollout)
            require_legal(rollout, Verb.START)
            if start.canary == rollout.stable:
                raise Invalid(
                    f"canary: {start.canary} is stable already; name another version", "canary"
                )
            available = self._versions.available()
            if start.canary not in available:
                there = ", ".join(sorted(available - {rollout.stable})) or "none"
                raise NotFound(
                    f"{start.canary} is not in the repository; to choose from: {there}",
                    "version_not_found",
                )
            start = replace(start, plan=start.plan.with_floor(self._plan.gate))
            missed = await self._loader.missed(start.plan, start.canary)
            if missed and not override_gate:
                raise gate.gate_conflict(start.canary, missed)
            return await self._ask(replace(start, missed=missed), terms)

    async def promote(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        terms: ChangeOptions = DEFAULT_OPTIONS,
        *,
        force: bool = False,
    ) -> dict[str, object]:
        """Go-ahead for the present step: the next one, or promotion from the last.

        Raises `Conflict` with code `guardrails_not_passed` before they have,
        unless forced; the audit log then says so.
        """
        event = PromoteCommand(actor, reason, force)
        return await run_to_completion(self._verb(event, expected_generation, terms))

    async def pause(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        terms: ChangeOptions = DEFAULT_OPTIONS,
    ) -> dict[str, object]:
        """Hold the weight; guardrails go on."""
        return await run_to_completion(
            self._verb(PauseCommand(actor, reason), expected_generation, terms)
        )

    async def resume(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        terms: ChangeOptions = DEFAULT_OPTIONS,
    ) -> dict[str, object]:
        """End a pause, but for one that waits for approval: that needs a promote."""
        return await run_to_completion(
            self._verb(ResumeCommand(actor, reason), expected_generation, terms)
        )

    async def undo(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        terms: ChangeOptions = DEFAULT_OPTIONS,
    ) -> dict[str, object]:
        """Bring back what was stable before the last promotion, all at once."""
        return await run_to_completion(
            self._verb(UndoCommand(actor, reason), expected_generation, terms)
        )

    async def abort(
        self,
        expected_generation: int | None,  # noqa: ARG002 - one signature for all verbs
        actor: str,
        reason: str = "",
        terms: ChangeOptions = DEFAULT_OPTIONS,
    ) -> dict[str, object]:
        """Take the canary out, whatever else is going on and whatever was read before.

        A call that was answered before is answered again only when there is nothing left
        to abort: a key must not keep a canary in traffic.
        """
        event = AbortCommand(actor, reason)
        if Verb.ABORT not in legal_verbs(self._machine.rollout):
            if (said := await self._said(terms)) is not None:
                return said
            require_legal(self._machine.rollout, Verb.ABORT)
        if terms.dry_run:
            async with self._machine.lock:
                return await self._ask(event, terms)
        self._machine.aborts += 1
        self._traffic.set(TrafficSplit(self._machine.rollout.stable))
        return await run_to_completion(self._abort(event, terms))

    async def _abort(self, event: AbortCommand, terms: ChangeOptions) -> dict[str, object]:
        try:
            async with self._machine.lock:
                if self._machine.rollout.phase is not Phase.ROLLED_BACK:
                    return await self._ask(event, terms)
        finally:
            self._machine.aborts -= 1
            self._machine.direct()
        return self._machine.status()

    async def _verb(
        self,
        event: PromoteCommand | PauseCommand | ResumeCommand | UndoCommand,
        expected: int | None,
        terms: ChangeOptions,
    ) -> dict[str, object]:
        async with self._machine.lock:
            if (said := await self._said(terms)) is not None:
                return said
            self._check(expected)
            return await self._ask(event, terms)

    async def _said(self, terms: ChangeOptions) -> dict[str, object] | None:
        """What this call was answered before, if it was."""
        call = terms.call
        if call is None or terms.dry_run:
            return None
        found = await asyncio.to_thread(self._store.response, call.actor, call.key)
        return None if found is None else found.again(call)

    async def _ask(self, event: Event, terms: ChangeOptions) -> dict[str, object]:
        """Do it, or say what would come of it; with the lock held."""
        rollout, moves = preview(self._machine.rollout, event, self._clock.time())
        record = carried(self._machine.record, event, rollout)
        answer = status(record, last_assessment(record), recorded=True)
        if terms.dry_run:
            return {**answer, "dry_run": True, "transitions": [audit_row(m, []) for m in moves]}
        answers = [] if terms.call is None else [IdempotentResponse(terms.call, answer)]
        await self._machine.apply(event, answers)
        return answer if answers else self._machine.status()

    def _check(self, expected: int | None) -> None:
        present = self._machine.rollout.generation
        if expected is None:
            raise PreconditionRequired(
                f'send If-Match with the generation you have seen; it is "{present}" now'
            )
        if expected != present:
            raise PreconditionFailed(
                f"the rollout has moved on from generation {expected} to {present}; look again"
            )


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end even if the caller goes away: no move is left half made."""
    return await asyncio.shield(asyncio.ensure_future(work))
