"""Delivers the audit log to all webhooks, without delaying the rollout.

The audit log is the outbox. A transaction that changes the rollout also writes the transition's
row, and the database keeps the last row that each webhook has received. A crash between the two
therefore loses nothing: at worst a row is delivered twice, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from service.clock import Clock
from service.metrics import Metrics
from service.observability import tracing
from service.observability.tracing import TraceRecorder
from service.rollout.notifications.webhook_client import WebhookClient
from service.rollout.notifications.webhook_sender import Post, WebhookSender
from service.rollout.storage.delivery_cursor import DeliveryCursor
from service.rollout.storage.errors import StoreError
from service.settings import WebhookSettings

log = logging.getLogger(__name__)


class Outbox:
    """All webhooks, each with a sender of its own, so that a slow one delays no other."""

    def __init__(
        self,
        webhooks: Sequence[WebhookSettings],
        cursor: DeliveryCursor,
        metrics: Metrics,
        clock: Clock,
        *,
        post: Post | None = None,
        draw: Callable[[], float] = random.random,
        traces: TraceRecorder | None = None,
    ) -> None:
        """`post` delivers one message; the default is over HTTP. `draw` spreads the retries."""
        self._cursor = cursor
        self._names = [webhook.label for webhook in webhooks]
        post = post or WebhookClient().post
        self.senders = [
            WebhookSender(
                webhook, self._cursor, metrics, clock, post=post, draw=draw, traces=traces
            )
            for webhook in webhooks
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, begun: float) -> None:
        """Deliver in the background.

        A new webhook gets the rows written since `begun`, in epoch seconds.
        """
        try:
            await self._cursor.follow(self._names, begun)
        except StoreError as error:
            # Known webhooks are still served, and the service runs without the new ones.
            log.error("new webhooks cannot be served yet: %s", error)  # noqa: TRY400  its text says all
        self._tasks = [asyncio.create_task(s.run(), name="webhook") for s in self.senders]

    def wake(self) -> None:
        """Look for new rows in the audit log, which belong to the current trace."""
        traceparent = tracing.outgoing_headers().get("traceparent")
        for sender in self.senders:
            sender.notify(traceparent)

    async def close(self) -> None:
        """Stop. The rows that are pending are delivered after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
