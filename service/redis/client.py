"""A connection that is made again when it is lost, with a time limit for every call."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

from service.errors import StoreUnavailable
from service.redis.address import RedisAddress
from service.redis.connection import RedisConnection, Reply
from service.redis.failures import RedisDownError, RedisFailureError, RedisRefusalError
from service.redis.library import FunctionLibrary
from service.redis.login import RECONNECT_ON, log_in

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two attempts to connect: they double."""

START_SECONDS = 3.0
"""How long a start waits for a server that is not there yet."""

Outcome = Reply | RedisFailureError
OnOutcome = Callable[[Any], None]


class _PendingCall:
    """A command until its reply has come. `resend`: a second time does no harm."""

    __slots__ = ("command", "deadline", "done", "on_outcome", "resend", "sent")

    def __init__(
        self, command: bytes, on_outcome: OnOutcome, sent: float, deadline: float, *, resend: bool
    ) -> None:
        self.command = command
        self.on_outcome = on_outcome
        self.sent = sent
        self.deadline = deadline
        self.resend = resend
        self.done = False


class RedisClient:
    """Calls functions of one server. Calls made at a time go out together.

    A call whose connection is lost is sent again on the next one, until `timeout_seconds` are
    over. While the server has been away for longer than that, calls fail at once.
    `on_up` is called when a connection is ready, `observe(seconds)` for every reply and
    `on_failure(kind)` for every failed call (`timeout`, `down`, or the first word of a refusal).
    """

    def __init__(
        self,
        address: RedisAddress,
        library: FunctionLibrary,
        *,
        timeout_seconds: float,
        name: str,
        start_seconds: float = START_SECONDS,
        observe: Callable[[float], None] = lambda _seconds: None,
        on_failure: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        self._address = address
        self._library = library
        self._timeout = timeout_seconds
        self._name = name
        self._start_seconds = start_seconds
        self._observe = observe
        self._on_failure = on_failure
        self._names: dict[str, bytes] = {}
        self._pending: deque[_PendingCall] = deque()
        self._connection: RedisConnection | None = None
        self._lost_at: float | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._closed = False
        self.on_up: list[Callable[[], None]] = []

    @property
    def up(self) -> bool:
        """Whether a connection is ready."""
        return self._connection is not None

    @property
    def reachable(self) -> bool:
        """Whether a call may succeed: a connection was there less than the time limit ago."""
        return self._connection is not None or not self._is_away(asyncio.get_running_loop().time())

    @property
    def timeout_seconds(self) -> float:
        """The time limit of a call."""
        return self._timeout

    @property
    def shown(self) -> str:
        """The server's address, for messages."""
        return self._address.shown

    async def start(self) -> None:
        """Connect, and wait a while for a server that is not there yet.

        Raises `StoreUnusable` if the server refuses the log-in or must not be used, and
        `StoreUnavailable` if there is none.
        """
        loop = asyncio.get_running_loop()
        give_up, pause = loop.time() + self._start_seconds, FIRST_PAUSE
        while True:
            try:
                await self._connect()
            except (OSError, TimeoutError, RedisDownError) as error:
                reason = _reason(error)
                # An unknown host and a wrong certificate do not change while one waits.
                lasting = isinstance(error, socket.gaierror | ssl.SSLError)
                if lasting or loop.time() + pause >= give_up:
                    raise StoreUnavailable(
                        f"the session store {self.shown} cannot be reached: {reason}"
                    ) from error
                logger.warning("the session store %s: %s; trying again", self.shown, reason)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return

    async def close(self) -> None:
        """Disconnect. Calls that wait for a reply fail."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        self._fail_pending(lambda _call: True)

    def call(self, function: str, keys: tuple[bytes, ...], *arguments: Any) -> asyncio.Future[Any]:
        """Call a function of the library. The future raises `RedisFailureError`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            if future.done():
                return
            if isinstance(outcome, RedisFailureError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.send(function, keys, arguments, settle)
        return future

    def send(
        self,
        function: str,
        keys: tuple[bytes, ...],
        arguments: tuple[Any, ...],
        on_outcome: OnOutcome,
        *,
        resend: bool = True,
    ) -> None:
        """Call a function, and `on_outcome` with its reply or a `RedisFailureError`.

        `on_outcome` is called at once if the server is known to be away.
        """
        name = self._names.get(function)
        if name is None:
            name = self._names[function] = self._library.function(function)
        command = hiredis.pack_command((b"FCALL", name, len(keys), *keys, *arguments))
        now = asyncio.get_running_loop().time()
        if self._connection is None and self._is_away(now):
            self._on_failure("down")
            on_outcome(RedisDownError(f"{self.shown} cannot be reached"))
            return
        call = _PendingCall(command, on_outcome, now, now + self._timeout, resend=resend)
        self._pending.append(call)
        if self._watchdog is None:
            self._watch()
        if self._connection is not None:
            self._transmit(self._connection, call)

    def _is_away(self, now: float) -> bool:
        return self._closed or self._lost_at is None or now - self._lost_at > self._timeout

    def _transmit(self, connection: RedisConnection, call: _PendingCall) -> None:
        def on_reply(reply: Reply) -> None:
            self._settle(connection, call, reply)

        connection.send(call.command, on_reply)

    def _settle(self, connection: RedisConnection, call: _PendingCall, reply: Reply) -> None:
        if connection is not self._connection:
            return  # given up: the call is sent again
        if isinstance(reply, hiredis.ReplyError):
            refusal = RedisRefusalError(str(reply))
            if refusal.code in RECONNECT_ON or "Function not found" in str(reply):
                # Another server than before: it has to be checked, and needs the functions.
                connection.abort()
                self._lose(connection)
                return
            self._on_failure(refusal.code)
            self._finish(call, refusal)
            return
        self._observe(asyncio.get_running_loop().time() - call.sent)
        self._finish(call, reply)

    def _finish(self, call: _PendingCall, outcome: Outcome) -> None:
        pending = self._pending
        call.done = True
        while pending and pending[0].done:
            pending.popleft()
        try:
            call.on_outcome(outcome)
        except Exception:
            logger.exception("the outcome of a call could not be handled")

    def _watch(self) -> None:
        """Look after the oldest call until none is left."""
        self._watchdog = None
        if self._closed or not self._pending:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._pending[0].deadline:
            if self._connection is not None:
                logger.warning(
                    "the session store %s has not answered for %g s", self.shown, self._timeout
                )
                self._connection.abort()
                self._lose(self._connection)
            self._fail_pending(lambda call: call.deadline <= loop.time())
        if self._pending:
            wait = max(self._timeout / 8, self._pending[0].deadline - loop.time())
            self._watchdog = loop.call_later(wait, self._watch)

    def _fail_pending(self, chosen: Callable[[_PendingCall], bool]) -> None:
        failed = [call for call in self._pending if not call.done and chosen(call)]
        for call in failed:
            self._on_failure("timeout")
            self._finish(call, RedisDownError(f"{self.shown} did not answer in time"))

    def _lose(self, connection: RedisConnection) -> None:
        """Give the connection up, and make another one."""
        if connection is not self._connection or self._closed:
            return
        self._connection = None
        loop = asyncio.get_running_loop()
        self._lost_at = loop.time()
        self._fail_pending(lambda call: not call.resend)
        self._connecting = loop.create_task(self._reconnect(), name="session-store")

    async def _reconnect(self) -> None:
        pause, said = 0.0, ""
        while not self._closed:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the load
            pause = min(2 * pause, LONGEST_PAUSE) if pause else FIRST_PAUSE
            try:
                await self._connect()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may do
                if _reason(error) != said:
                    said = _reason(error)
                    logger.warning("the session store %s is away: %s", self.shown, said)
            else:
                logger.info("the session store %s is back", self.shown)
                return

    async def _connect(self) -> None:
        """Make a connection, check the server, load the library, and send what waits."""
        loop = asyncio.get_running_loop()
        connection: RedisConnection

        def on_lost() -> None:
            self._lose(connection)

        def make() -> RedisConnection:
            nonlocal connection
            connection = RedisConnection(on_lost)
            return connection

        # Longer than a call may take: a log-in over TLS takes several round trips.
        async with asyncio.timeout(max(1.0, 2 * self._timeout)):
            if self._address.path is not None:
                await loop.create_unix_connection(make, self._address.path)
            else:
                await loop.create_connection(
                    make, self._address.host, self._address.port, ssl=self._address.tls
                )
            try:
                await log_in(connection, self._address, self._library, self._name)
            except BaseException:
                connection.abort()
                raise
        self._connection, self._lost_at = connection, None
        for call in self._pending:
            if not call.done:
                self._transmit(connection, call)
        for tell in self.on_up:
            tell()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
