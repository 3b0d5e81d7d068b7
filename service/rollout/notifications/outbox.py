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
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`post` delivers one message; the default is over HTTP. `draw` spreads the retries.

        Only a replica that `leads` delivers."""
        self._begun: float | None = None
        self._leads = leads
        self._cursor = cursor
        self._names = [webhook.label for webhook in webhooks]
        post = post or WebhookClient().post
        self.senders = [
            WebhookSender(
                webhook,
                self._cursor,
                metrics,
                clock,
                post=post,
                draw=draw,
                traces=traces,
                leads=leads,
            )
            for webhook in webhooks
        ]
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, begun: float) -> None:
        """Deliver in the background.

        A new webhook gets the rows written since `begun`, in epoch seconds.
        """
        self._begun = begun
        if self._leads():
            await self._follow()
        self._tasks = {asyncio.create_task(s.run(), name="webhook") for s in self.senders}

    def take_over(self) -> None:
        """This replica has taken the lead: deliver what the last leader has not."""
        if self._begun is None:
            return  # `start` follows
        task = asyncio.create_task(self._take_over(), name="webhooks")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_over(self) -> None:
        await self._follow()
        self.wake()

    async def _follow(self) -> None:
        assert self._begun is not None
        try:
            await self._cursor.follow(self._names, self._begun)
        except StoreError as error:
            # Known webhooks are still served, and the service runs without the new ones.
            log.error("new webhooks cannot be served yet: %s", error)  # noqa: TRY400  its text says all

    def wake(self) -> None:
        """Look for new rows in the audit log, which belong to the current trace."""
        traceparent = tracing.outgoing_headers().get("traceparent")
        for sender in self.senders:
            sender.notify(traceparent)

    async def close(self) -> None:
        """Stop. The rows that are pending are delivered after the next start."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
