"""The steps that every request for a change has in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson

from service.clock import Clock
from service.errors import Invalid, PreconditionFailed, PreconditionRequired
from service.rollout.controller.completion import run_to_completion
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.status import status
from service.rollout.outlook.headline import with_headline
from service.rollout.state.audit import audit_row
from service.rollout.state.change import preview
from service.rollout.state.change_request import ChangeOptions, IdempotentResponse
from service.rollout.state.events import Command
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import RecordConflict, StoreError
from service.rollout.storage.rollout_store import RolloutStore

Response = dict[str, object]

MAX_CONFLICTS = 10
"""How often a request begins again because another replica was faster."""


class RequestApplication:
    """Takes the executor's lock, answers a repeat, and applies the request's command."""

    def __init__(
        self, executor: ChangeExecutor, store: RolloutStore, clock: Clock, *, shared: bool = False
    ) -> None:
        """`shared`: other replicas may change the record. Each request then begins with the
        stored one, and begins again when another replica was faster."""
        self._executor = executor
        self._shared = shared
        self._store = store
        self._clock = clock

    async def run(
        self, decide: Callable[[RolloutState], Awaitable[Command]], options: ChangeOptions
    ) -> Response:
        """Apply the command that `decide` returns for the current state; return the status.

        `decide` checks the request and raises if it must not be carried out. It is not called
        for a repeat. The work runs to its end even if the caller is cancelled.
        """
        return await run_to_completion(self._run(decide, options))

    async def _run(
        self, decide: Callable[[RolloutState], Awaitable[Command]], options: ChangeOptions
    ) -> Response:
        async with self._executor.lock:
            for _ in range(MAX_CONFLICTS):
                await self.refresh()
                if (stored := await self.stored_response(options)) is not None:
                    return stored
                with suppress(RecordConflict):
                    return await self.apply(await decide(self._executor.rollout), options)
        raise RecordConflict("other replicas keep changing the rollout; try again in a moment")

    async def refresh(self) -> None:
        """Make the stored record the current one, if other replicas may have changed it. The
        caller holds the lock. Raises `StoreError`."""
        if self._shared:
            if not self._executor.recorded:
                await self._executor.retry_save()
            if not self._executor.recorded:
                # What is stored must not undo what is in effect here, an abort for example.
                raise StoreError("an earlier change cannot be stored yet; try again in a moment")
            await self._executor.reload()

    async def stored_response(self, options: ChangeOptions) -> Response | None:
        """The response to an earlier request with the same key, if there was one.

        Raises `Invalid` for a key of another request.
        """
        request = options.request
        if request is None or options.dry_run:
            return None
        found = await self._store.response(request.actor, request.key)
        return None if found is None else found.replay(request)

    async def apply(self, command: Command, options: ChangeOptions) -> Response:
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


def require_generation(rollout: RolloutState, expected: int | None) -> None:
    """Raise `PreconditionRequired` or `PreconditionFailed` unless `expected` is the current one."""
    if expected is None:
        raise PreconditionRequired(
            f'send If-Match with the generation you have seen; it is "{rollout.generation}" now'
        )
    if expected != rollout.generation:
        raise PreconditionFailed(
            f"the rollout is at generation {rollout.generation}, not {expected}; "
            "read the status again"
        )


def _require_json(response: Response) -> None:
    """Raise `Invalid`, before anything has changed, if the status could not be sent."""
    try:
        orjson.dumps(response)
    except TypeError as error:
        raise Invalid(f"the request has a value that no response can hold: {error}") from error
