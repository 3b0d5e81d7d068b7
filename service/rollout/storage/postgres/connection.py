"""One connection to PostgreSQL, opened when it is needed and dropped when it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import asyncpg

from service.rollout.storage.errors import StoreError
from service.rollout.storage.postgres.address import PostgresAddress

log = logging.getLogger(__name__)

CALL_SECONDS = 5.0
"""The longest a call may take, with its wait for the connection. A server that is cut off without
a word is noticed after this long."""

Work = Callable[[Any], Awaitable[Any]]
T = TypeVar("T")

_LOG_IN = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
_LOST = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)


class LastingError(StoreError):
    """Waiting does not help: the server refuses the log-in, or this nextvec cannot use it."""


class PostgresConnection:
    """One call at a time, each with a time limit.

    `name` is shown by the server in its list of connections, and `options` are settings of the
    session. `on_open` is called with every new connection before its first use.
    """

    def __init__(
        self,
        address: PostgresAddress,
        name: str,
        *,
        options: Mapping[str, str] | None = None,
        on_open: Work | None = None,
        seconds: float = CALL_SECONDS,
    ) -> None:
        self._address = address
        milliseconds = str(int(seconds * 1000))
        self._options = {
            "application_name": name,
            # The server ends what this side no longer waits for.
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            **(options or {}),
        }
        self._on_open = on_open
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._connection: Any = None

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """The result of `work(connection)`.

        Raises `StoreError`. After a lost connection or a time limit it is unknown whether the
        server has done the work.
        """
        try:
            async with asyncio.timeout(self._seconds), self._lock:
                return await self._run(work)
        except TimeoutError:
            raise StoreError(f"{self._address} did not answer in {self._seconds:g} s") from None

    async def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1.0)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    def drop(self) -> None:
        """Drop the connection without a farewell."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        connection = await self._open()
        try:
            return await work(connection)
        except asyncpg.PostgresError as error:
            if isinstance(error, _LOST):
                self.drop()  # the next call asks for the server that has taken over
            raise self._translate(error) from error
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self.drop()
            raise StoreError(f"{self._address}: the connection was lost: {error}") from error
        except asyncio.CancelledError:
            self.drop()  # an answer may still be on its way
            raise

    async def _open(self) -> Any:
        if self._connection is not None and self._connection.is_closed():
            self._connection = None
        if self._connection is None:
            connection = await self._connect()
            try:
                if self._on_open is not None:
                    await self._on_open(connection)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    async def _connect(self) -> Any:
        address = self._address
        try:
            return await asyncpg.connect(
                host=address.host,
                port=address.port,
                user=address.user,
                password=address.password,
                database=address.database,
                ssl=address.tls,
                timeout=self._seconds,
                server_settings=self._options,
            )
        except asyncpg.PostgresError as error:
            raise self._translate(error) from error
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise StoreError(
                f"{address} cannot be reached: {reason}; is it running, and is rollout.url right?"
            ) from error

    def _translate(self, error: asyncpg.PostgresError) -> StoreError:
        # Only the message: the details may quote what was to be stored.
        said = getattr(error, "message", None) or str(error) or type(error).__name__
        text = f"{self._address}: {said}"
        if isinstance(error, _LOG_IN):
            return LastingError(f"{text}; check rollout.url and rollout.password")
        if isinstance(error, asyncpg.DiskFullError):
            return StoreError(f"{text}; the server needs disk space")
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            return StoreError(f"{text}; rollout.url must lead to the primary server")
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            return StoreError(
                f"{text}; the user must own the schema: CREATE SCHEMA nextvec AUTHORIZATION …"
            )
        return StoreError(text)
