"""Telling webhooks what the audit log says: at least once, in order, never in the way.

The log is the outbox. A transition is in it in the transaction that made it so, and
for each webhook the database keeps the last line it was told; what lies between is
still to be told. So a kill between the two loses nothing: the worst is a line told
twice, under the same id.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal

from service.clock import Clock
from service.metrics import Metrics
from service.rollout.notifications import webhook
from service.rollout.storage.database import Database, StoreError
from service.settings import WebhookSettings

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 300.0
GIVE_UP_SECONDS = 86_400.0
"""A line this old is given up when it fails again, and the next one is told."""

BACKLOG = 1000
"""Lines a webhook may lie behind; beyond, the oldest are given up."""

Result = Literal["delivered", "failed", "dropped"]
Post = Callable[[str, Mapping[str, str], bytes], None]


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """The next line for a webhook, and how many more wait behind it."""

    row: dict[str, Any]
    behind: int


class DeliveryCursor:
    """What each webhook has been told. Calls block and raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def follow(self, names: Sequence[str], begun: float) -> None:
        """Keep account for these alone. A new one is told what happens from `begun` on,
        in epoch seconds, and not the past."""
        marks = ", ".join("?" * len(names))
        with self._database.writing() as connection:
            connection.execute(f"DELETE FROM webhooks WHERE name NOT IN ({marks})", names)  # noqa: S608  the marks are ours
            connection.executemany(
                "INSERT OR IGNORE INTO webhooks SELECT ?, coalesce(max(id), 0) FROM audit "
                "WHERE json_extract(row, '$.at') < ?",
                [(name, begun) for name in names],
            )

    def due(self, name: str) -> WebhookDelivery | None:
        """The oldest line not told yet."""
        with self._database.reading() as connection:
            told = "(SELECT told FROM webhooks WHERE name = ?)"
            found = connection.execute(
                f"SELECT id, row FROM audit WHERE id > {told} ORDER BY id LIMIT 1",  # noqa: S608  as above
                (name,),
            ).fetchone()
            if found is None:
                return None
            (last,) = connection.execute("SELECT max(id) FROM audit").fetchone()
        number, row = found
        return WebhookDelivery({"id": number, **json.loads(row)}, last - number)

    def told(self, name: str, number: int) -> None:
        """All lines up to this one are done with."""
        with self._database.writing() as connection:
            connection.execute("UPDATE webhooks SET told = ? WHERE name = ?", (number, name))


class WebhookSender:
    """Tells one webhook, a line at a time."""

    def __init__(
        self,
        hook: WebhookSettings,
        told: DeliveryCursor,
        metrics: Metrics,
        clock: Clock,
        *,
        post: Post,
        draw: Callable[[], float],
    ) -> None:
        self._name = hook.label
        self._url = hook.url.get_secret_value()
        self._key = hook.key
        self._told = told
        self._metrics = metrics
        self._clock = clock
        self._post = post
        self._draw = draw
        self._failures = 0
        self._not_before = 0.0
        self.news = asyncio.Event()
        metrics.expect_webhook(self._name)

    async def run(self) -> None:
        """For ever: tell what is due, then wait for news or for the next try."""
        while True:
            self.news.clear()
            try:
                wait = await self.deliver()
            except StoreError as error:
                log.warning("webhook %s: %s", self._name, error)
                wait = LONGEST_RETRY_SECONDS
            try:
                await asyncio.wait_for(self.news.wait(), wait)
            except TimeoutError:
                continue

    async def deliver(self) -> float | None:
        """Tell all that is due. Answers how long to wait before the next try, in
        seconds; None: until there are news."""
        while (due := await asyncio.to_thread(self._told.due, self._name)) is not None:
            self._metrics.webhook_backlog.labels(self._name).set(due.behind + 1)
            number = due.row["id"]
            if due.behind >= BACKLOG:
                skipped = due.behind + 1 - BACKLOG
                await self._done(number + skipped - 1, "dropped", skipped)
                continue
            wait = self._not_before - self._clock.monotonic()
            if wait > 0:
                return wait
            if await self._tell(due.row):
                await self._done(number, "delivered")
            elif self._clock.time() - due.row["at"] >= GIVE_UP_SECONDS:
                await self._done(number, "dropped")
        self._metrics.webhook_backlog.labels(self._name).set(0)
        return None

    async def _done(self, number: int, result: Result, count: int = 1) -> None:
        await asyncio.to_thread(self._told.told, self._name, number)
        self._metrics.webhook_deliveries.labels(self._name, result).inc(count)
        self._failures, self._not_before = 0, 0.0
        if result == "dropped":
            log.error("webhook %s: up to line %d: %d given up", self._name, number, count)

    async def _tell(self, row: Mapping[str, Any]) -> bool:
        content = webhook.body(row)
        headers = webhook.headers(row, content, self._key, self._clock.time())
        try:
            await asyncio.to_thread(self._post, self._url, headers, content)
        except (OSError, HTTPException, ValueError) as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        """Note when to try again. The address may be a secret: it is not in the log."""
        longest = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(self._failures, 20))
        wait = longest * (0.5 + 0.5 * self._draw())
        self._failures += 1
        self._not_before = self._clock.monotonic() + wait
        self._metrics.webhook_deliveries.labels(self._name, "failed").inc()
        said = str(error) if isinstance(error, OSError) else type(error).__name__
        if isinstance(error, urllib.error.HTTPError):
            said = f"status {error.code}"
        log.warning("webhook %s: %s; again in %.0f s", self._name, said, wait)


class Outbox:
    """All webhooks, each with a courier of its own: a slow one holds up none else."""

    def __init__(
        self,
        hooks: Sequence[WebhookSettings],
        database: Database,
        metrics: Metrics,
        clock: Clock,
        *,
        post: Post | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._told = DeliveryCursor(database)
        self._names = [hook.label for hook in hooks]
        self.couriers = [
            WebhookSender(hook, self._told, metrics, clock, post=post or _post, draw=draw)
            for hook in hooks
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, begun: float) -> None:
        """Begin to tell, in the background: a new webhook what happens from `begun` on."""
        try:
            await asyncio.to_thread(self._told.follow, self._names, begun)
        except StoreError as error:
            # Those known before are told all the same; nobody's news stop the service.
            log.error("webhooks that are new cannot be told anything yet: %s", error)  # noqa: TRY400  its text says all
        self._tasks = [asyncio.create_task(c.run(), name="webhook") for c in self.couriers]

    def news(self) -> None:
        """Something was recorded."""
        for courier in self.couriers:
            courier.news.set()

    async def close(self) -> None:
        """Stop; what is not told yet is told after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET and look like a success."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _post(url: str, headers: Mapping[str, str], content: bytes) -> None:
    """Blocks. Raises `OSError` (`HTTPError` for any status but 2xx), `HTTPException` or
    `ValueError`."""
    request = urllib.request.Request(url, content, dict(headers), method="POST")  # noqa: S310  the settings take http(s) alone
    try:
        _OPENER.open(request, timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
        raise
