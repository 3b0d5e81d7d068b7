"""Delivers the audit log to one webhook: in order, at least once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from service.clock import Clock
from service.metrics import Metrics
from service.observability import tracing
from service.observability.tracing import TraceRecorder
from service.rollout.notifications import webhook_message
from service.rollout.notifications.webhook_client import DeliveryError
from service.rollout.storage.delivery_cursor import DeliveryCursor
from service.rollout.storage.errors import StoreError
from service.settings import WebhookSettings

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 300.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""The longest wait that a webhook's `Retry-After` can ask for."""

GIVE_UP_SECONDS = 86_400.0
"""A row this old is dropped when its delivery fails again."""

BACKLOG = 1000
"""Rows that may wait for a webhook. Beyond that, the oldest are dropped."""

Result = Literal["delivered", "failed", "dropped"]
Post = Callable[[str, Mapping[str, str], bytes], Awaitable[None]]


class WebhookSender:
    """One webhook's deliveries, a row at a time. `wake` says that there is a new row."""

    def __init__(
        self,
        settings: WebhookSettings,
        cursor: DeliveryCursor,
        metrics: Metrics,
        clock: Clock,
        *,
        post: Post,
        draw: Callable[[], float],
        traces: TraceRecorder | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`post` delivers and raises `DeliveryError`; `draw` returns a random number 0..1."""
        self.wake = asyncio.Event()
        self._leads = leads
        self._name = settings.label
        self._url = settings.url.get_secret_value()
        self._key = settings.key
        self._cursor = cursor
        self._metrics = metrics
        self._clock = clock
        self._post = post
        self._draw = draw
        self._traces = traces or TraceRecorder()
        self._traceparent: str | None = None
        self._failures = 0
        self._not_before = 0.0
        self._clock_offset = clock.time() - clock.monotonic()
        metrics.rollout.expect_webhook(self._name)

    def notify(self, traceparent: str | None) -> None:
        """Wake up for a new row. Deliveries continue the trace that wrote it, if there is one."""
        self._traceparent = traceparent or self._traceparent
        self.wake.set()

    async def run(self) -> None:
        """Deliver what is pending, then wait for a new row or for the next try; for ever."""
        while True:
            self.wake.clear()
            try:
                wait = await self.deliver() if self._leads() else None
            except StoreError as error:
                log.warning("webhook %s: %s", self._name, error)
                wait = LONGEST_RETRY_SECONDS
            except Exception as error:  # noqa: BLE001  a bug here must not end the deliveries
                # Without its text, which may quote the webhook's URL.
                log.error("webhook %s: %s; tried again later", self._name, type(error).__name__)  # noqa: TRY400  as above
                wait = LONGEST_RETRY_SECONDS
            try:
                await asyncio.wait_for(self.wake.wait(), wait)
            except TimeoutError:
                continue

    async def deliver(self) -> float | None:
        """Deliver every pending row.

        Returns the seconds until the next try, or None if nothing is left.
        """
        while (pending := await self._cursor.next(self._name)) is not None:
            if not self._leads():
                return None  # the next leader goes on from here
            self._metrics.rollout.webhook_backlog.labels(self._name).set(pending.behind + 1)
            number = pending.row["id"]
            if pending.behind >= BACKLOG:
                skipped = pending.behind + 1 - BACKLOG
                await self._advance(number + skipped - 1, "dropped", skipped)
                continue
            wait = self._not_before - self._clock.monotonic()
            if wait > 0:
                return wait
            if await self._send(pending.row):
                await self._advance(number, "delivered")
            elif self._age(pending.row) >= GIVE_UP_SECONDS:
                await self._advance(number, "dropped")
        self._metrics.rollout.webhook_backlog.labels(self._name).set(0)
        self._traceparent = None
        return None

    async def _advance(self, number: int, result: Result, count: int = 1) -> None:
        await self._cursor.advance(self._name, number)
        self._metrics.rollout.webhook_deliveries.labels(self._name, result).inc(count)
        self._failures, self._not_before = 0, 0.0
        if result == "dropped":
            log.error(
                "webhook %s: undelivered rows dropped: %d, up to row %d", self._name, count, number
            )

    async def _send(self, row: Mapping[str, Any]) -> bool:
        content = webhook_message.body(row)
        headers = webhook_message.headers(row, content, self._key, self._clock.time())
        try:
            with self._traces.root("webhook delivery", self._traceparent):
                await self._post(self._url, {**headers, **tracing.outgoing_headers()}, content)
        except DeliveryError as error:
            self._schedule_retry(error)
            return False
        return True

    def _age(self, row: Mapping[str, Any]) -> float:
        """Seconds since the row was written, whatever the system clock was set to since."""
        steady = self._clock_offset + self._clock.monotonic()
        return float(min(self._clock.time(), steady) - row["at"])

    def _schedule_retry(self, error: DeliveryError) -> None:
        longest = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(self._failures, 20))
        wait = longest * (0.5 + 0.5 * self._draw())
        wanted = retry_after_seconds(error.retry_after, self._clock.time())
        wait = min(max(wait, wanted), LONGEST_RETRY_AFTER_SECONDS)
        self._failures += 1
        self._not_before = self._clock.monotonic() + wait
        self._metrics.rollout.webhook_deliveries.labels(self._name, "failed").inc()
        log.warning("webhook %s: %s; the next try is in %.0f s", self._name, error, wait)


def retry_after_seconds(header: str | None, now: float) -> float:
    """The wait that a `Retry-After` asks for, in seconds or as a date; 0 for anything else.

    `now` is in epoch seconds.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:18])
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, at.timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
