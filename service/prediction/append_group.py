"""Appends that were asked for together, each answered by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from service.errors import NextvecError
from service.observability import request_scope
from service.prediction.immediate_append import ImmediateAppend
from service.prediction.request import Prediction, RequestOptions, SessionAppend

Outcome = Prediction | NextvecError


class AppendGroup:
    """One group: `begin` and `wait` are `Dispatch.begin_append` and `Dispatch.append`.

    Those of one session run one after the other, in their order.
    """

    def __init__(
        self,
        begin: Callable[..., ImmediateAppend | None],
        wait: Callable[..., Awaitable[Prediction]],
        options: RequestOptions,
    ) -> None:
        self._begin = begin
        self._wait = wait
        self._options = options
        self._running: dict[int, ImmediateAppend | asyncio.Task[None]] = {}
        # Sessions with an append in a task: what comes after it must not get in between.
        self._in_turn: set[str] = set()
        self._outcomes: dict[int, Prediction | BaseException] = {}
        self._count = 0
        self._all_ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, appends: Sequence[SessionAppend]) -> list[Outcome]:
        """Return the outcomes in order. Raises what is no error of the service, for all."""
        self._count = len(appends)
        for number, append in enumerate(appends):
            self._start(number, append)
        try:
            if len(self._outcomes) < self._count:
                await self._all_ended
        finally:
            for running in list(self._running.values()):
                running.cancel()
        found: list[Outcome] = []
        for number in range(self._count):
            outcome = self._outcomes[number]
            if not isinstance(outcome, Prediction | NextvecError):
                raise outcome
            found.append(outcome)
        return found

    def _start(self, number: int, append: SessionAppend) -> None:
        running: ImmediateAppend | asyncio.Task[None] | None = None
        if append.session not in self._in_turn:
            try:
                running = self._begin(
                    append.session,
                    append.vectors,
                    self._options,
                    partial(self._answer, number),
                    position=append.position,
                )
            except Exception as error:  # noqa: BLE001  the caller of `run` has to learn of it
                self._answer(number, error)
                return
        if running is None:
            self._in_turn.add(append.session)
            running = asyncio.create_task(self._run(number, append))
        if number not in self._outcomes:
            self._running[number] = running

    async def _run(self, number: int, append: SessionAppend) -> None:
        request_scope.separate()  # it has a session of its own
        try:
            self._answer(
                number,
                await self._wait(
                    append.session, append.vectors, self._options, position=append.position
                ),
            )
        except Exception as error:  # noqa: BLE001  the caller of `run` has to learn of it
            self._answer(number, error)

    def _answer(self, number: int, outcome: Prediction | BaseException) -> None:
        self._running.pop(number, None)
        if isinstance(outcome, NextvecError):
            # It leads to this group: a cycle would keep the vectors for long.
            outcome.__traceback__ = None
        self._outcomes[number] = outcome
        if len(self._outcomes) == self._count and not self._all_ended.done():
            self._all_ended.set_result(None)
