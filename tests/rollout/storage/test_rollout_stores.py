"""What both adapters of the rollout's store have in common: SQLite and PostgreSQL."""

from __future__ import annotations

import math
import secrets
from dataclasses import replace

import pytest

from service.fleet.identity import FleetIdentity
from service.rollout.state.change_request import ChangeRequest, IdempotentResponse
from service.rollout.state.events import Phase
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import Database
from service.rollout.storage.postgres.address import parse_address
from service.rollout.storage.postgres.database import PostgresDatabase
from service.rollout.storage.postgres.delivery_cursor import PostgresDeliveryCursor
from service.rollout.storage.postgres.rollout_store import PostgresRolloutStore
from service.rollout.storage.rollout_store import RESPONSES_KEPT
from service.rollout.storage.sqlite_cursor import SqliteDeliveryCursor
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from service.rollout.storage.threaded_store import ThreadedRolloutStore
from tests.rollout.storage.test_sqlite_store import record


class SqliteCase:
    def __init__(self, folder):
        self._database = Database(folder / "nextvec.db")

    async def open(self):
        self.store = ThreadedRolloutStore(SqliteRolloutStore(self._database))
        self.cursor = SqliteDeliveryCursor(self._database)


class PostgresCase:
    def __init__(self, server):
        self._address = parse_address(server.url)
        self._fleet = FleetIdentity(secrets.token_hex(8), "one", "boot-1")

    async def open(self):
        database = PostgresDatabase(self._address, self._fleet.name, self._fleet.replica)
        await database.open()
        self.store = PostgresRolloutStore(database, self._fleet.boot)
        self.cursor = PostgresDeliveryCursor(database)


@pytest.fixture(params=["sqlite", "postgres"])
async def case(request, tmp_path):
    if request.param == "sqlite":
        made = SqliteCase(tmp_path)
    else:
        made = PostgresCase(request.getfixturevalue("postgres"))
    await made.open()
    yield made
    await made.store.close()


async def test_a_record_comes_back_exactly(case):
    assert await case.store.load() is None
    await case.store.save(record(), [{"n": 1}, {"n": 2}])
    await case.store.close()
    assert record() == await case.store.load()
    assert [{"id": 2, "n": 2}, {"id": 1, "n": 1}] == await case.store.history(10)
    assert [{"id": 2, "n": 2}] == await case.store.history(1)


async def test_a_save_that_cannot_be_written_as_json_changes_nothing(case):
    await case.store.load()
    await case.store.save(record(1), [{"n": 1}])
    with pytest.raises(ValueError, match="JSON"):
        await case.store.save(record(2), [{"n": math.nan}])
    assert record(1) == await case.store.load()
    assert 1 == len(await case.store.history(10))


async def test_saves_follow_each_other(case):
    await case.store.load()
    for number in range(1, 6):
        await case.store.save(record(number), [{"n": number}])
    assert record(5) == await case.store.load()
    assert [5, 4, 3, 2, 1] == [row["n"] for row in await case.store.history(10)]


async def test_text_of_any_language_and_control_characters_come_back(case):
    note = 'ünï "x" \x00\x1f \u2028 日本語'
    await case.store.load()
    await case.store.save(record(), [{"note": note}], [response("k", note)])
    assert note == (await case.store.history(1))[0]["note"]
    assert response("k", note) == await case.store.response("me", "k")


def response(key, answer="ok", actor="me"):
    return IdempotentResponse(ChangeRequest(actor, key, f"print of {key}"), {"text": answer})


async def test_a_response_is_stored_by_actor_and_key(case):
    await case.store.load()
    await case.store.save(record(), [], [response("k", "mine"), response("k", "yours", "you")])
    await case.store.close()
    assert response("k", "mine") == await case.store.response("me", "k")
    assert response("k", "yours", "you") == await case.store.response("you", "k")
    assert await case.store.response("me", "other") is None


async def test_the_number_of_stored_responses_is_bounded(case):
    """The oldest are dropped."""
    await case.store.load()
    many = [response(str(n)) for n in range(RESPONSES_KEPT + 5)]
    await case.store.save(record(), [], many)
    assert await case.store.response("me", "4") is None
    assert await case.store.response("me", "5") is not None


async def test_a_final_record_is_not_revoked(case):
    await case.store.load()
    await case.store.save(record())
    await case.store.save(RolloutRecord(replace(record().rollout, phase=Phase.ROLLED_BACK)))
    await case.store.load()
    assert not await case.store.canary_revoked()


def row(at):
    return {"at": at, "to": "Progressing"}


async def test_a_webhook_gets_the_rows_since_it_is_followed_one_after_the_other(case):
    await case.store.load()
    await case.store.save(RolloutRecord(RolloutState("a")), [row(1.0)])
    await case.cursor.follow(["chat"], begun=2.0)
    assert await case.cursor.next("chat") is None
    await case.store.save(RolloutRecord(RolloutState("a")), [row(3.0), row(4.0)])
    first = await case.cursor.next("chat")
    assert ({"id": 2, **row(3.0)}, 1) == (first.row, first.behind)
    await case.cursor.advance("chat", 2)
    assert 3 == (await case.cursor.next("chat")).row["id"]
    await case.cursor.follow(["chat", "pager"], begun=3.5)
    assert 3 == (await case.cursor.next("chat")).row["id"]
    assert 3 == (await case.cursor.next("pager")).row["id"]
    await case.cursor.advance("chat", 3)
    assert await case.cursor.next("chat") is None


async def test_a_webhook_that_is_no_longer_followed_begins_again(case):
    await case.store.load()
    await case.cursor.follow(["chat"], begun=0.0)
    await case.store.save(RolloutRecord(RolloutState("a")), [row(1.0)])
    await case.cursor.follow([], begun=2.0)
    await case.cursor.follow(["chat"], begun=2.0)
    assert await case.cursor.next("chat") is None
