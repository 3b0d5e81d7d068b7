"""A flood: requests of one kind, sent on schedule whatever the server does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from loadtest.generator.request_log import RequestLog
from loadtest.overload.flood_connection import FloodConnection
from loadtest.overload.flood_requests import RequestSource
from service.clock import Clock


class Flood:
    """Sends requests at their due times, each on an idle connection or on a new one.

    `make_source(number)` makes the requests of a connection. With `most` requests in flight
    an arrival waits for a response, and its latency includes the wait. `requests` is in order
    of completion; its times count from `epoch`, the creation of the flood. `lags` says by how
    many seconds this process was behind each due time: it measures the generator.
    """

    def __init__(
        self,
        address: tuple[str, int],
        make_source: Callable[[int], RequestSource],
        clock: Clock,
        most: int,
    ) -> None:
        self.requests: list[RequestLog] = []
        self.lags: list[float] = []
        self.epoch = clock.monotonic()
        self._address = address
        self._make_source = make_source
        self._clock = clock
        self._most = most
        self._idle: list[FloodConnection] = []
        self._sources: dict[FloodConnection, RequestSource] = {}
        self._unused: list[RequestSource] = []  # of connections that ended
        self._in_flight: dict[FloodConnection, tuple[float, float]] = {}
        self._due: deque[float] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._made = 0
        self._quiet = asyncio.Event()

    def now(self) -> float:
        """Seconds since `epoch`."""
        return self._clock.monotonic() - self.epoch

    async def run(self, arrivals: Iterable[float]) -> None:
        """Send at each of `arrivals`, in seconds from now. Responses may still be missing."""
        begin = self.now()
        for at in arrivals:
            if (wait := begin + at - self.now()) > 0:
                await asyncio.sleep(wait)
            self.lags.append(self.now() - begin - at)
            self._due.append(begin + at)
            self._send_due()

    async def run_closed(self, callers: int, seconds: float) -> float:
        """Send with `callers` that each wait for their response; 200s a second."""
        before, begin = len(self.requests), self.now()
        self._due.extend([begin] * callers)
        self._send_due()
        while self.now() < begin + seconds:
            seen = len(self.requests)
            await asyncio.sleep(0.001)
            self._due.extend([self.now()] * (len(self.requests) - seen))
            self._send_due()
        answered = sum(request.ok for request in self.requests[before:])
        self._due.clear()
        await self.finish(seconds)
        return answered / seconds

    async def finish(self, seconds: float) -> None:
        """Wait until every request has ended, for at most `seconds`; then end the rest."""
        await self._wait_until_quiet(seconds)
        unsent, self._due = self._due, deque()
        for connection in list(self._in_flight):
            connection.close()
        await self._wait_until_quiet(seconds)
        end = self.now()
        self.requests += [RequestLog(due, end - due, end - due, 0) for due in unsent]

    async def close(self) -> None:
        """Close all connections."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in self._sources:
            connection.close()

    async def _wait_until_quiet(self, seconds: float) -> None:
        if self._due or self._in_flight or self._opening:
            self._quiet.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), seconds)

    def _send_due(self) -> None:
        while self._due:
            if self._idle:
                connection = self._idle.pop()
                if connection.open:
                    self._send(connection, self._due.popleft())
                else:
                    self._forget(connection)
            elif len(self._in_flight) + len(self._opening) < self._most:
                task = asyncio.ensure_future(self._open(self._due.popleft()))
                self._opening.add(task)
                task.add_done_callback(self._opened)
            else:
                return

    async def _open(self, due: float) -> None:
        connection = FloodConnection(self._respond)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: connection, *self._address)
        except OSError as error:
            took = self.now() - due
            self.requests.append(RequestLog(due, took, took, 0, error=str(error)))
            return
        if self._unused:
            source = self._unused.pop()
        else:
            source = self._make_source(self._made)
            self._made += 1
        self._sources[connection] = source
        self._send(connection, due)

    def _send(self, connection: FloodConnection, due: float) -> None:
        self._in_flight[connection] = (due, self.now() - due)
        connection.send(self._sources[connection].next())

    def _respond(self, connection: FloodConnection, status: int) -> None:
        due, late = self._in_flight.pop(connection)
        self.requests.append(RequestLog(due, late, self.now() - due, status))
        self._sources[connection].note(status)
        if connection.open:
            self._idle.append(connection)
        else:
            self._forget(connection)
        self._send_due()
        self._note_quiet()

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._note_quiet()

    def _note_quiet(self) -> None:
        if not (self._due or self._in_flight or self._opening):
            self._quiet.set()

    def _forget(self, connection: FloodConnection) -> None:
        with suppress(KeyError):
            self._unused.append(self._sources.pop(connection))
