"""Webhooks are told everything recorded, at least once, in order, and never in the way."""

from __future__ import annotations

import asyncio
import json
import threading
from http.client import InvalidURL
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
from prometheus_client import CollectorRegistry

from service.metrics import Metrics
from service.rollout.notifications.outbox import BACKLOG, GIVE_UP_SECONDS, Outbox
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import Database, StoreError
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from service.settings import WebhookSettings
from tests.support.rollout_fakes import FakeClock

SECRET = "a secret of tests"


class Receiver:
    """A real HTTP server; `answers` are the statuses of the next requests, then 200."""

    def __init__(self):
        receiver = self
        self.answers = []
        self.heard = []
        self.arrived = Queue()
        self.gate = threading.Event()
        self.gate.set()

        class Handler(BaseHTTPRequestHandler):
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
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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


class World:
    """A store that rows are written to, and an outbox on it; `restart` is a kill -9."""

    def __init__(self, path, *hooks):
        self.path, self.hooks = path, hooks
        self.clock = FakeClock()
        self.begin = self.clock.now
        self.boot()

    def boot(self, *hooks):
        self.hooks = hooks or self.hooks
        self.database = Database(self.path)
        self.store = SqliteRolloutStore(self.database)
        self.metrics = Metrics(CollectorRegistry(), 10.0)
        self.outbox = Outbox(self.hooks, self.database, self.metrics, self.clock, draw=lambda: 1.0)
        self.outbox._told.follow(self.outbox._names, self.clock.now)

    def restart(self, *hooks):
        self.database.close()
        self.clock.now += 1
        self.boot(*hooks)

    def happen(self, count=1):
        row = {
            "at": self.clock.now,
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
        return await self.outbox.couriers[which].deliver()

    def counted(self, result, name="127.0.0.1"):
        labels = {"webhook": name, "result": result}
        value = self.metrics.registry.get_sample_value
        return value("nextvec_webhook_deliveries_total", labels)

    def backlog(self, name="127.0.0.1"):
        return self.metrics.registry.get_sample_value("nextvec_webhook_backlog", {"webhook": name})


@pytest.fixture
def world(tmp_path, receiver):
    made = World(tmp_path / "nextvec.db", WebhookSettings(url=receiver.url, secret=SECRET))
    yield made
    made.database.close()


async def test_what_is_recorded_is_told_in_order_and_signed(world, receiver):
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


async def test_a_kill_between_the_record_and_the_telling_loses_nothing(world, receiver):
    world.happen(2)
    world.restart()
    await world.deliver()
    assert [1, 2] == receiver.ids
    world.restart()
    await world.deliver()
    assert [1, 2] == receiver.ids


async def test_a_kill_after_the_telling_tells_it_again_under_the_same_id(
    world, receiver, monkeypatch
):
    """At least once."""
    world.happen()

    def killed(*_):
        raise StoreError("killed")

    monkeypatch.setattr(world.outbox._told, "told", killed)
    with pytest.raises(StoreError):
        await world.deliver()
    world.restart()
    await world.deliver()
    first, second = [headers["webhook-id"] for headers, _ in receiver.heard]
    assert first == second


@pytest.mark.parametrize("status", [302, 400, 404, 410, 429, 500, 503])
async def test_what_is_refused_is_tried_again_later_and_later(world, receiver, status, caplog):
    """A redirect too: it would turn the POST into a GET. The address stays out of the log."""
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


async def test_what_the_http_library_says_of_an_address_is_not_logged(tmp_path, caplog):
    """It quotes the path, which may be all the secret there is."""

    def quote(url, *_):
        raise InvalidURL(f"cannot be used: {url}")

    world = World(tmp_path / "nextvec.db", WebhookSettings(url="http://a.example/s3cret-path"))
    for courier in world.outbox.couriers:
        courier._post = quote
    world.happen()
    await world.deliver()
    assert "InvalidURL" in caplog.text
    assert "s3cret-path" not in caplog.text
    world.database.close()


async def test_nothing_is_sent_before_its_time(world, receiver):
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


async def test_nobody_listening_is_a_failure_like_any_other(world, receiver):
    receiver.close()
    world.happen()
    assert 1.0 == pytest.approx(await world.deliver())
    assert 1 == world.counted("failed")


async def test_a_line_is_given_up_after_a_day_and_the_next_is_told(world, receiver, caplog):
    receiver.answers = [500, 500]
    world.happen()
    await world.deliver()
    world.clock.now += GIVE_UP_SECONDS
    world.happen()
    await world.deliver()
    assert [1, 1, 2] == receiver.ids
    assert (1, 1) == (world.counted("dropped"), world.counted("delivered"))
    assert "1 given up" in caplog.text


async def test_after_a_long_silence_an_old_line_is_tried_once_all_the_same(world, receiver):
    world.happen()
    world.clock.now += 3 * GIVE_UP_SECONDS
    world.restart()
    await world.deliver()
    assert [1] == receiver.ids


async def test_only_so_many_lines_wait(world, receiver):
    """The oldest are given up."""
    world.happen(BACKLOG + 5)
    receiver.answers = [500]
    await world.deliver()
    assert [6] == receiver.ids
    assert (5, BACKLOG) == (world.counted("dropped"), world.backlog())


async def test_a_new_webhook_is_not_told_the_past(world, receiver):
    world.happen(3)
    new = WebhookSettings(url=receiver.url, name="new")
    world.restart(*world.hooks, new)
    world.happen()
    await world.deliver(1)
    assert [4] == receiver.ids
    assert 1 == world.counted("delivered", "new")


async def test_one_that_was_taken_out_and_comes_back_is_new(world, receiver):
    hooks = world.hooks
    world.restart(WebhookSettings(url=receiver.url, name="other"))
    world.happen()
    world.restart(*hooks)
    world.happen()
    await world.deliver()
    assert [2] == receiver.ids


async def test_a_new_webhook_hears_what_happened_since_the_start(tmp_path, receiver):
    """For instance that the record was unreadable."""
    world = World(tmp_path / "nextvec.db")
    begun = world.clock.now
    world.happen()
    world.hooks = (WebhookSettings(url=receiver.url),)
    world.database.close()
    world.boot()
    world.outbox._told.follow([], begun)
    world.outbox._told.follow(world.outbox._names, begun)
    await world.deliver()
    assert [1] == receiver.ids
    world.database.close()


async def test_it_tells_by_itself_and_a_slow_receiver_holds_nobody_up(world, receiver):
    """The record goes on while a request hangs; what is left is told after the next start."""
    await world.outbox.start(world.begin)
    world.happen()
    world.outbox.news()
    assert 1 == await asyncio.to_thread(receiver.arrived.get, timeout=10)
    receiver.gate.clear()
    world.happen()
    world.outbox.news()
    assert 2 == await asyncio.to_thread(receiver.arrived.get, timeout=10)
    world.happen()
    assert 3 == len(world.store.history(10))
    await world.outbox.close()
    receiver.gate.set()
    world.restart()
    await world.deliver()
    assert 3 == receiver.ids[-1]


async def test_a_full_disk_does_not_end_the_telling(world, receiver, caplog):
    async def story():
        calls = []
        due = world.outbox._told.due

        def flaky(name):
            calls.append(name)
            if len(calls) == 1:
                raise StoreError("the disk is full")
            return due(name)

        world.outbox._told.due = flaky
        await world.outbox.start(world.begin)
        world.happen()
        while not calls:
            await asyncio.sleep(0)
        while not receiver.heard:
            world.outbox.news()
            await asyncio.sleep(0.001)
        await world.outbox.close()

    await story()
    assert "the disk is full" in caplog.text
