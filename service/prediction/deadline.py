"""The time a request may take, waiting included."""

from __future__ import annotations

import asyncio
from types import TracebackType

from service.errors import DeadlineExceeded


class CallerDeadlineExceeded(DeadlineExceeded):
    """The caller's own deadline passed, before the service's. The version is not at fault."""


class Deadline:
    """Raises `DeadlineExceeded` if the block takes longer than the service's `timeout`.

    A caller's own, shorter timeout raises `CallerDeadlineExceeded`. Both are in seconds, and
    count from the arrival of the request, which was `waited` seconds ago. A class, because a
    generator-based context manager costs several times as much.
    """

    def __init__(self, timeout: float, caller_timeout: float | None, waited: float = 0.0) -> None:
        self._seconds = min(timeout, caller_timeout or timeout)
        self._is_callers = self._seconds < timeout
        self._timeout = asyncio.timeout(max(0.0, self._seconds - waited))

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, within the block."""
        when = self._timeout.when()
        return 0.0 if when is None else when - asyncio.get_running_loop().time()

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as late:
            kind_of_error = CallerDeadlineExceeded if self._is_callers else DeadlineExceeded
            raise kind_of_error(f"not answered within {self._seconds:g} s") from late
