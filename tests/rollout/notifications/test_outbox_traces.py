"""A webhook's delivery continues the trace of the request that changed the rollout."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from service.metrics import Metrics
from service.observability import request_scope
from service.rollout.notifications.outbox import Outbox
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import Database
from service.rollout.storage.sqlite_cursor import SqliteDeliveryCursor
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from service.settings import WebhookSettings
from tests.support.rollout_fakes import SteppingClock

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ROW = {
    "at": 1_700_000_000.0,
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


async def test_a_delivery_continues_the_trace_that_wrote_the_row(tmp_path):
    """As the caller sent it, if this service records nothing itself; later rows have none."""
    sent = []

    async def post(_url, headers, _content):
        sent.append(headers.get("traceparent"))

    database, clock = Database(tmp_path / "nextvec.db"), SteppingClock()
    store = SqliteRolloutStore(database)
    hook = WebhookSettings(url="http://hook.test/", secret="a secret of tests")
    cursor = SqliteDeliveryCursor(database)
    outbox = Outbox([hook], cursor, Metrics(CollectorRegistry(), 10.0), clock, post=post)
    outbox._cursor._follow(outbox._names, 0.0)
    for scope in ({"traceparent": PARENT}, {}):
        store.save(RolloutRecord(RolloutState("phase-2")), [ROW])
        with request_scope.entered(scope):
            outbox.wake()
        await outbox.senders[0].deliver()
    database.close()

    assert [PARENT, None] == sent
