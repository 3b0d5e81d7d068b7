"""What happens after a wrong token: a log line, a count and a delay.

Every token is checked first, so that a good one is never slowed down, whatever its address
did before. Memory is bounded: the addresses that failed last are remembered.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from service.api.access.identity import FailureReason
from service.bounded_store import BoundedStore
from service.clock import Clock
from service.errors import TooManyFailures
from service.metrics import Metrics

logger = logging.getLogger(__name__)

Surface = Literal["admin", "predictions"]

MAX_ADDRESSES = 4096
MEMORY_SECONDS = 900.0
"""Failures of an address are forgotten this long after the last one."""

FREE_FAILURES = 5
"""Failures of an address that are answered at once."""

LOGGED_FAILURES = 20
"""Failures of an address of which each has a line in the log."""

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 3.0
MAX_WAITING = 64
"""Delayed answers at a time; further failures are answered at once with 429."""


@dataclass
class _Address:
    failures: int = 0


class FailedLogins:
    """Failed log-ins by address. `sleep` is replaced in tests."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._addresses: BoundedStore[str, _Address] = BoundedStore(
            max_size=MAX_ADDRESSES, max_age=MEMORY_SECONDS
        )
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._addresses)

    async def note(
        self, surface: Surface, reason: FailureReason, address: str, request_id: str
    ) -> None:
        """Count and log a failure, and wait before it is answered.

        The first failures of an address are not delayed; each further one waits twice as
        long. Raises `TooManyFailures` when too many answers wait already.
        """
        self._metrics.failed_logins.labels(surface, reason).inc()
        count = self._count(address)
        # After that, a line each time the number doubles: nobody can fill the disk.
        if count <= LOGGED_FAILURES or count & (count - 1) == 0:
            logger.warning(
                "failed log-in (%s, %s token) from %s, failure %d of this address, request %s",
                surface,
                reason,
                address,
                count,
                request_id,
            )
        if reason == "missing" or count <= FREE_FAILURES:
            return
        delay = min(
            FIRST_DELAY_SECONDS * 2 ** min(count - FREE_FAILURES - 1, 16), MAX_DELAY_SECONDS
        )
        if self._waiting >= MAX_WAITING:
            raise TooManyFailures("too many failed log-ins: wait before the next one", delay)
        self._waiting += 1
        try:
            await self._sleep(delay)
        finally:
            self._waiting -= 1

    def _count(self, address: str) -> int:
        now = self._clock.monotonic()
        self._addresses.expire(now)
        network = _network(address)
        found = self._addresses.get(network) or _Address()
        found.failures += 1
        self._addresses.put(network, found, now=now)
        self._addresses.shrink()
        return found.failures


def _network(address: str) -> str:
    """The address, or the /64 network of an IPv6 address, which one host may have whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
