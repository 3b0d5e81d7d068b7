"""Carries out operations with `await`, on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from nextvec import transport
from nextvec.connection_options import ConnectionOptions
from nextvec.exchange import Budget, Call, Operation, Outcome, Pause, ResultT


class AwaitingRunner:
    """Sends the requests of an operation over an asynchronous client of httpx."""

    def __init__(
        self,
        options: ConnectionOptions,
        http: httpx.AsyncClient,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.options = options
        self._http = http
        self._sleep = sleep

    def budget(self) -> Budget:
        """The budget of an operation that begins now."""
        return self.options.budget()

    async def __call__(self, operation: Operation[ResultT]) -> ResultT:
        """Return the result of `operation`, or raise what it raises."""
        outcome: Outcome = None
        try:
            while True:
                try:
                    wanted = operation.send(outcome)
                except StopIteration as end:
                    result: ResultT = end.value
                    return result
                outcome = await self._perform(wanted)
        finally:
            operation.close()

    async def _perform(self, wanted: Call | Pause) -> Outcome:
        if isinstance(wanted, Pause):
            await self._sleep(wanted.seconds)
            return None
        try:
            # httpx bounds each read and write; this bounds the request.
            async with asyncio.timeout(wanted.timeout):
                response = await self._http.request(**self.options.request(wanted))
        except (httpx.HTTPError, TimeoutError) as error:
            return transport.to_failure(wanted, error)
        return transport.to_reply(response)
