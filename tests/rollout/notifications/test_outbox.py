"""Webhooks get every row of the audit log: at least once, in order, without delaying anything."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import httpx
import pytest
from prometheus_client import CollectorRegistry

from service.metrics import Metrics
from service.rollout.notifications.outbox import Outbox
from service.rollout.notifications.webhook_sender import (
    BACKLOG,
    GIVE_UP_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
)
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import Database
from service.rollout.storage.errors import StoreError
from service.rollout.storage.sqlite_cursor import SqliteDeliveryCursor
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from service.settings import WebhookSettings
from tests.support.rollout_fakes import SteppingClock

SECRET = "a secret of tests"


class Receiver:
    """A real HTTP server; `answers` are the statuses of the next requests, then 200."""

    def __init__(self):
        receiver = self
        self.answers = []
        self.retry_after = None
        self.heard = []
        self.arrived = Queue()
        self.gate = threading.Event()
        self.gate.set()

        class WebhookHandler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.heard.append((headers, content))
                receiver.arrived.put(json.loads(content)["data"]["id"])
                receiver.gate.wait(10)
                status = receiver.answers.pop(0) if receiver.answers else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                if receiver.retry_after is not None:
                    self.send_header("Retry-After", receiver.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), WebhookHandler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/s3cret-path"

    @property
    def ids(self):
        return [json.loads(content)["data"]["id"] for _, content in self.heard]

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


class OutboxWorld:
    """A store that rows are written to, and an outbox on it; `restart` is a kill -9."""

    def __init__(self, path, *hooks):
        self.path, self.hooks = path, hooks
        self.clock = SteppingClock()
        self.begin = self.clock.now
        self.boot()

    def boot(self, *hooks):
        self.hooks = hooks or self.hooks
        self.database = Database(self.path)
        self.store = SqliteRolloutStore(self.database)
        self.metrics = Metrics(CollectorRegistry(), 10.0)
        cursor = SqliteDeliveryCursor(self.database)
        self.outbox = Outbox(self.hooks, cursor, self.metrics, self.clock, draw=lambda: 1.0)
        self.outbox._cursor._follow(self.outbox._names, self.clock.now)

    def restart(self, *hooks):
        self.database.close()
        self.clock.now += 1
        self.boot(*hooks)

    def happen(self, count=1):
        row = {
            "at": self.clock.time(),
            "actor": "controller",
            "reason": "step_passed",
            "note": "",
            "from": "Progressing",
            "to": "Progressing",
            "weight_percent": 5.0,
            "stable": "phase-2",
            "canary": "phase-3",
            "message": "pass",
        }
        self.store.save(RolloutRecord(RolloutState("phase-2")), [row] * count)

    async def deliver(self, which=0):
        return await self.outbox.senders[which].deliver()

    def counted(self, result, name="127.0.0.1"):
        labels = {"webhook": name, "result": result}
        value = self.metrics.registry.get_sample_value
        return value("nextvec_webhook_deliveries_total", labels)

    def backlog(self, name="127.0.0.1"):
        return self.metrics.registry.get_sample_value("nextvec_webhook_backlog", {"webhook": name})


@pytest.fixture
def world(tmp_path, receiver):
    made = OutboxWorld(tmp_path / "nextvec.db", WebhookSettings(url=receiver.url, secret=SECRET))
    yield made
    made.database.close()


async def test_rows_are_delivered_in_order_and_signed(world, receiver):
    world.happen(3)
    assert await world.deliver() is None
    assert [1, 2, 3] == receiver.ids
    assert [f"nextvec-{n}-1700000000000" for n in (1, 2, 3)] == [
        headers["webhook-id"] for headers, _ in receiver.heard
    ]
    assert all(headers["webhook-signature"].startswith("v1,") for headers, _ in receiver.heard)
    assert (3, 0, 0) == (world.counted("delivered"), world.counted("failed"), world.backlog())
    await world.deliver()
    assert 3 == len(receiver.heard)


async def test_a_kill_between_record_and_delivery_loses_nothing(world, receiver):
    world.happen(2)
    world.restart()
    await world.deliver()
    assert [1, 2] == receiver.ids
    world.restart()
    await world.deliver()
    assert [1, 2] == receiver.ids


async def test_a_kill_after_a_delivery_repeats_it_under_the_same_id(world, receiver, monkeypatch):
    """At least once."""
    world.happen()

    async def killed(*_):
        raise StoreError("killed")

    monkeypatch.setattr(world.outbox._cursor, "advance", killed)
    with pytest.raises(StoreError):
        await world.deliver()
    world.restart()
    await world.deliver()
    first, second = [headers["webhook-id"] for headers, _ in receiver.heard]
    assert first == second


@pytest.mark.parametrize("status", [302, 400, 404, 410, 429, 500, 503])
async def test_a_refused_delivery_is_retried_with_growing_delays(world, receiver, status, caplog):
    """Redirects too. The address stays out of the log."""
    receiver.answers = [status] * 10
    world.happen()
    waits = []
    for _ in range(10):
        waits.append(await world.deliver())
        world.clock.now += waits[-1]
    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, 300] == pytest.approx(waits)
    assert (0, 10, 1) == (world.counted("delivered"), world.counted("failed"), world.backlog())
    assert await world.deliver() is None
    assert [1] * 11 == receiver.ids
    assert 1 == world.counted("delivered")
    assert f"status {status}" in caplog.text
    assert "s3cret-path" not in caplog.text


@pytest.mark.parametrize("error", [httpx.InvalidURL, httpx.UnsupportedProtocol])
async def test_an_error_that_quotes_the_address_is_not_logged(tmp_path, caplog, monkeypatch, error):
    """The path may be the whole secret."""

    def quote(_client, _method, url, **_):
        raise error(f"cannot be used: {url}")

    monkeypatch.setattr(httpx.AsyncClient, "stream", quote)
    world = OutboxWorld(
        tmp_path / "nextvec.db", WebhookSettings(url="http://a.example/s3cret-path")
    )
    world.happen()
    await world.deliver()
    assert error.__name__ in caplog.text
    assert "s3cret-path" not in caplog.text
    world.database.close()


async def test_the_address_of_a_delivery_is_not_logged_either(world, caplog):
    """The HTTP client's own log lines would have it."""
    with caplog.at_level(logging.DEBUG):
        world.happen()
        await world.deliver()
    assert 1 == world.counted("delivered")
    assert "s3cret-path" not in caplog.text


async def test_a_redirect_is_not_followed(world, receiver):
    receiver.answers = [302]
    world.happen()
    await world.deliver()
    assert 1 == len(receiver.heard)
    assert 1 == world.counted("failed")


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", 120),
        ("0", 1),
        ("999999999999", LONGEST_RETRY_AFTER_SECONDS),
        ("Tue, 14 Nov 2023 22:14:50 GMT", 90),
        ("Tue, 14 Nov 2000 22:14:50 GMT", 1),
        ("-5", 1),
        ("soon", 1),
        ("", 1),
    ],
)
async def test_a_receivers_wait_is_honoured_within_bounds(world, receiver, header, wait):
    world.clock.now = 1_700_000_000.0
    receiver.answers = [503]
    receiver.retry_after = header
    world.happen()
    assert wait == pytest.approx(await world.deliver())


@pytest.mark.parametrize("step", [3 * GIVE_UP_SECONDS, -3 * GIVE_UP_SECONDS])
async def test_a_change_of_the_system_clock_drops_no_row(world, receiver, step):
    receiver.answers = [500] * 3
    world.happen()
    await world.deliver()
    world.clock.wrong = step
    world.happen()
    world.clock.now += 10
    await world.deliver()
    world.clock.now += 10
    await world.deliver()
    assert 0 == (world.counted("dropped") or 0)


async def test_nothing_is_sent_before_the_retry_is_due(world, receiver):
    receiver.answers = [500]
    world.happen()
    await world.deliver()
    world.happen()
    assert 1.0 == pytest.approx(await world.deliver())
    assert [1] == receiver.ids
    assert 2 == world.backlog()
    world.clock.now += 1
    await world.deliver()
    assert [1, 1, 2] == receiver.ids


async def test_a_refused_connection_is_a_failure(world, receiver):
    receiver.close()
    world.happen()
    assert 1.0 == pytest.approx(await world.deliver())
    assert 1 == world.counted("failed")


async def test_a_row_is_dropped_after_a_day_and_the_next_is_delivered(world, receiver, caplog):
    receiver.answers = [500, 500]
    world.happen()
    await world.deliver()
    world.clock.now += GIVE_UP_SECONDS
    world.happen()
    await world.deliver()
    assert [1, 1, 2] == receiver.ids
    assert (1, 1) == (world.counted("dropped"), world.counted("delivered"))
    assert "undelivered rows dropped: 1" in caplog.text


async def test_an_old_row_is_tried_once_after_a_long_silence(world, receiver):
    world.happen()
    world.clock.now += 3 * GIVE_UP_SECONDS
    world.restart()
    await world.deliver()
    assert [1] == receiver.ids


async def test_the_backlog_is_bounded(world, receiver):
    """The oldest rows are dropped."""
    world.happen(BACKLOG + 5)
    receiver.answers = [500]
    await world.deliver()
    assert [6] == receiver.ids
    assert (5, BACKLOG) == (world.counted("dropped"), world.backlog())


async def test_a_new_webhook_does_not_get_the_past(world, receiver):
    world.happen(3)
    new = WebhookSettings(url=receiver.url, name="new")
    world.restart(*world.hooks, new)
    world.happen()
    await world.deliver(1)
    assert [4] == receiver.ids
    assert 1 == world.counted("delivered", "new")


async def test_a_webhook_that_was_removed_and_added_again_is_new(world, receiver):
    hooks = world.hooks
    world.restart(WebhookSettings(url=receiver.url, name="other"))
    world.happen()
    world.restart(*hooks)
    world.happen()
    await world.deliver()
    assert [2] == receiver.ids


async def test_a_new_webhook_gets_what_happened_since_the_start(tmp_path, receiver):
    """For example that the record was unreadable."""
    world = OutboxWorld(tmp_path / "nextvec.db")
    begun = world.clock.now
    world.happen()
    world.hooks = (WebhookSettings(url=receiver.url),)
    world.database.close()
    world.boot()
    world.outbox._cursor._follow([], begun)
    world.outbox._cursor._follow(world.outbox._names, begun)
    await world.deliver()
    assert [1] == receiver.ids
    world.database.close()


async def test_deliveries_run_in_the_background_and_a_slow_receiver_delays_nothing(world, receiver):
    """The record continues while a request hangs; the rest is delivered after the next start."""
    await world.outbox.start(world.begin)
    world.happen()
    world.outbox.wake()
    assert 1 == await asyncio.to_thread(receiver.arrived.get, timeout=10)
    receiver.gate.clear()
    world.happen()
    world.outbox.wake()
    assert 2 == await asyncio.to_thread(receiver.arrived.get, timeout=10)
    world.happen()
    assert 3 == len(world.store.history(10))
    await world.outbox.close()
    receiver.gate.set()
    world.restart()
    await world.deliver()
    assert 3 == receiver.ids[-1]


@pytest.mark.parametrize("problem", [StoreError("the disk is full"), RuntimeError("s3cret-path")])
async def test_no_failure_ends_the_deliveries(world, receiver, caplog, problem):
    calls = []
    due = world.outbox._cursor.next

    async def flaky(name):
        calls.append(name)
        if len(calls) == 1:
            raise problem
        return await due(name)

    world.outbox._cursor.next = flaky
    await world.outbox.start(world.begin)
    world.happen()
    while not calls:
        await asyncio.sleep(0)
    while not receiver.heard:
        world.outbox.wake()
        await asyncio.sleep(0.001)
    await world.outbox.close()
    expected = "the disk is full" if isinstance(problem, StoreError) else "RuntimeError"
    assert expected in caplog.text
    assert "s3cret" not in caplog.text
