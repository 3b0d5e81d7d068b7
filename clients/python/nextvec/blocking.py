"""Carries out operations with blocking calls."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from nextvec import transport
from nextvec.connection_options import ConnectionOptions
from nextvec.exchange import Budget, Call, Operation, Outcome, Pause, ResultT


class BlockingRunner:
    """Sends the requests of an operation over a client of httpx."""

    def __init__(
        self,
        options: ConnectionOptions,
        http: httpx.Client,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.options = options
        self._http = http
        self._sleep = sleep

    def budget(self) -> Budget:
        """The budget of an operation that begins now."""
        return self.options.budget()

    def __call__(self, operation: Operation[ResultT]) -> ResultT:
        """Return the result of `operation`, or raise what it raises."""
        outcome: Outcome = None
        try:
            while True:
                try:
                    wanted = operation.send(outcome)
                except StopIteration as end:
                    result: ResultT = end.value
                    return result
                outcome = self._perform(wanted)
        finally:
            operation.close()

    def _perform(self, wanted: Call | Pause) -> Outcome:
        if isinstance(wanted, Pause):
            self._sleep(wanted.seconds)
            return None
        try:
            return transport.to_reply(self._http.request(**self.options.request(wanted)))
        except httpx.HTTPError as error:
            return transport.to_failure(wanted, error)
