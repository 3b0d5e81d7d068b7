"""In a fleet, the replica that leads tells the webhooks, and the next one goes on."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from service.metrics import Metrics
from service.rollout.notifications.outbox import Outbox
from service.rollout.notifications.webhook_message import message_id
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import Database
from service.rollout.storage.sqlite_cursor import SqliteDeliveryCursor
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from service.settings import WebhookSettings
from tests.support.rollout_fakes import SteppingClock


class OutboxReplica:
    """One replica's outbox on the audit log that all share."""

    def __init__(self, database, clock, sent):
        self.leads = False
        self.resigns_after = None

        async def post(_url, headers, _content):
            sent.append(headers["webhook-id"])
            if len(sent) == self.resigns_after:
                self.leads = False

        self.outbox = Outbox(
            [WebhookSettings(url="http://hook.test/", name="chat")],
            SqliteDeliveryCursor(database),
            Metrics(CollectorRegistry(), 10.0),
            clock,
            post=post,
            leads=lambda: self.leads,
        )

    def take_over(self):
        self.leads = True
        self.outbox.take_over()


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def test_every_transition_is_told_once_by_whoever_leads(tmp_path):
    database, clock, sent = Database(tmp_path / "nextvec.db"), SteppingClock(), []
    store = SqliteRolloutStore(database)
    rows = []

    def happen():
        row = {
            **dict.fromkeys(("actor", "reason", "note", "message", "stable", "canary"), ""),
            "at": clock.now,
            "from": "Progressing",
            "to": "Progressing",
            "weight_percent": 5.0,
        }
        rows.append(message_id({"id": len(rows) + 1, **row}))
        store.save(RolloutRecord(RolloutState("phase-2")), [row])
        for replica in replicas:
            replica.outbox.wake()

    replicas = [OutboxReplica(database, clock, sent) for _ in range(3)]
    store.save(RolloutRecord(RolloutState("phase-2")), [{"at": clock.now - 1, "to": "Healthy"}])
    rows.append("before the webhook")
    replicas[0].take_over()  # during the start
    for replica in replicas:
        await replica.outbox.start(clock.now)
    await asyncio.sleep(0)
    replicas[0].resigns_after = 2
    happen()
    happen()
    await until(lambda: len(sent) == 2)
    # The leader is gone; what happens before the next one leads waits.
    happen()
    await asyncio.sleep(0.05)
    assert rows[1:3] == sent
    replicas[2].take_over()
    await until(lambda: len(sent) == 3)
    happen()
    await until(lambda: len(sent) == 4)
    assert rows[1:] == sent
    for replica in replicas:
        await replica.outbox.close()
    database.close()
