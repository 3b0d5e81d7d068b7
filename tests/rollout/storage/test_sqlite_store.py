"""The record and the audit log: stored together or unchanged, whatever happens."""

from __future__ import annotations

import json
import math
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.e_process import EProcess
from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency import LatencyState
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.state.change_request import ChangeRequest, IdempotentResponse
from service.rollout.state.events import Phase, Reason
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.database import Database
from service.rollout.storage.errors import StoreError, StoreUnreadable
from service.rollout.storage.record_json import dump_record, load_record
from service.rollout.storage.rollout_store import RESPONSES_KEPT
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from tests.support.rollout_fakes import EDGES, QUICK, bucket_counts

BLANK = bucket_counts([])


def store_at(path):
    return SqliteRolloutStore(Database(path))


def record(generation: int = 1) -> RolloutRecord:
    counted = Counters(
        {"step": CountsByArm(bucket_counts([0.1] * 150 + [0.3]), bucket_counts([0.2] * 7, 1))}
    )
    tests = Evidence(EDGES)
    for _ in range(2):
        tests, _ = guardrail_suite(QUICK, EDGES, 1).update(tests, Measurement(counted), 0)
    rollout = RolloutState(
        "a",
        Phase.PROGRESSING,
        generation,
        canary="b",
        plan=QUICK,
        since=0.1 + 0.2,
        reason=Reason.WARMED_UP,
        warmed=True,
    )
    return RolloutRecord(
        rollout, tests, Snapshot("one", "a", "b", counted), 1_700_000_000.123456789
    )


def test_a_record_comes_back_exactly(tmp_path):
    store = store_at(tmp_path / "deep" / "nextvec.db")
    assert store.load() is None
    store.save(record(), [{"n": 1}, {"n": 2}])
    store.close()
    again = store_at(store._database.path)
    assert record() == again.load()
    assert [{"id": 2, "n": 2}, {"id": 1, "n": 1}] == again.history(10)
    assert [{"id": 2, "n": 2}] == again.history(1)
    again.close()


@given(st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8), st.floats(0, 1e10))
def test_floats_are_stored_exactly(bets, at):
    process = EProcess(tuple(bets), tuple(bets), peak=bets[0])
    kept = RolloutRecord(
        RolloutState("a", since=at), Evidence(EDGES, {"latency": LatencyState(process)}), None, at
    )
    assert kept == load_record(dump_record(kept))


def test_a_save_that_fails_changes_nothing(tmp_path):
    store = store_at(tmp_path / "nextvec.db")
    store.save(record(1), [{"n": 1}])
    store._database._connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(StoreError, match="disk full"):
        store.save(record(2), [{"n": 2}])
    assert record(1) == store.load()
    assert 1 == len(store.history(10))
    store.close()


def test_a_record_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    store = store_at(tmp_path / "nextvec.db")
    with pytest.raises(ValueError, match="JSON"):
        store.save(record(1), [{"n": math.nan}])
    assert store.load() is None
    store.close()


def test_the_log_is_append_only(tmp_path):
    store = store_at(tmp_path / "nextvec.db")
    store.save(record(), [{"n": 1}])
    for change in ("DELETE FROM audit", "UPDATE audit SET row = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store._database._connection.execute(change)
    store.close()


def damaged(path, sql):
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE state SET record = '{'",
        "UPDATE state SET record = '{}'",
        "UPDATE state SET record = replace(record, 'Progressing', 'Dancing')",
        "UPDATE state SET record = replace(record, '\"step\":0', '\"step\":7')",
        'UPDATE state SET record = replace(record, \'"canary":"b"\', \'"canary":null\')',
        "PRAGMA user_version = 99",
        "PRAGMA user_version = 0",
    ],
)
def test_other_contents_are_unreadable(tmp_path, sql):
    store = store_at(tmp_path / "nextvec.db")
    store.save(record())
    store.close()
    damaged(store._database.path, sql)
    with pytest.raises(StoreUnreadable):
        store.load()
    store.close()


def older(path, text):
    """A file of the version that had only the latency guardrail."""
    store = store_at(path)
    store.save(record())
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE state SET record = ?", (text,))
    connection.execute("DROP TABLE calls")
    connection.execute("DROP TABLE webhooks")
    connection.execute("ALTER TABLE state DROP COLUMN permit")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    return store


def test_the_record_of_an_older_service_keeps_weight_and_phase(tmp_path, caplog):
    """Its evidence does not fit the guardrails of today: it is reset, and the log says so."""
    kept = json.loads(dump_record(record()))
    del kept["evidence"], kept["rollout"]["attempts"], kept["rollout"]["plan"]["guardrails"]
    kept["rollout"]["passed"] = True
    kept |= {"test": {"edges": [0.1], "failing": [0.0]}, "snapshot": {"origin": "one"}}
    store = older(tmp_path / "nextvec.db", json.dumps(kept))
    found = store.load()
    assert RolloutRecord(record().rollout) == found
    assert "older version" in caplog.text
    store.close()
    assert found == store_at(store._database.path).load()


def test_an_older_record_that_is_damaged_is_unreadable(tmp_path):
    store = older(tmp_path / "nextvec.db", "{")
    with pytest.raises(StoreUnreadable):
        store.load()
    store.close()


@pytest.mark.parametrize("junk", [b"junk" * 4096, b"SQLite format 3\0" + b"\xff" * 8192])
def test_an_unreadable_file_is_kept_aside(tmp_path, junk):
    """Each gets its own number."""
    store = store_at(tmp_path / "nextvec.db")
    for number in (1, 2):
        store._database.path.write_bytes(junk)
        with pytest.raises(StoreUnreadable):
            store.load()
        kept = store.set_aside()
        assert f"nextvec.db.unreadable-{number}" == kept.name
        assert junk == kept.read_bytes()
        assert store.load() is None
        store.close()
        store._database.path.unlink()


def test_a_kill_while_a_file_is_set_aside_brings_no_older_record_back(tmp_path, monkeypatch):
    """Without its write-ahead log, the file is intact but holds the save before."""
    store = store_at(tmp_path / "nextvec.db")
    store.save(record(1))
    store.close()
    store.save(record(2))
    killed = tmp_path / "killed.db"
    for suffix in ("", "-wal"):
        shutil.copy(f"{store._database.path}{suffix}", f"{killed}{suffix}")
    store.close()
    rename, renamed = Path.rename, []

    def one_alone(path, target):
        if renamed:
            raise KeyboardInterrupt
        renamed.append(rename(path, target))

    again = store_at(killed)
    monkeypatch.setattr(Path, "rename", one_alone)
    with pytest.raises(KeyboardInterrupt):
        again.set_aside()
    assert again.load() is None
    again.close()


def test_a_path_that_cannot_be_opened_is_not_called_unreadable(tmp_path):
    """A wrong path must not set anything aside."""
    with pytest.raises(StoreError) as caught:
        store_at(tmp_path).load()
    assert not isinstance(caught.value, StoreUnreadable)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        store_at(tmp_path / "file" / "nextvec.db").load()


def test_a_file_of_schema_2_is_upgraded(tmp_path):
    """Record, evidence and audit log are kept."""
    store = store_at(tmp_path / "nextvec.db")
    store.save(record(), [{"n": 1}])
    store.close()
    connection = sqlite3.connect(store._database.path)
    for statement in (
        "DROP TABLE calls",
        "DROP TABLE webhooks",
        "ALTER TABLE state DROP COLUMN permit",
        "PRAGMA user_version = 2",
    ):
        connection.execute(statement)
    connection.commit()
    connection.close()
    assert record() == store.load()
    assert store.response("me", "k") is None
    assert 1 == len(store.history(10))
    store.close()


def test_a_rollout_of_an_older_service_is_not_taken_for_a_revoked_one(tmp_path):
    """It has no permit yet; the next save creates one."""
    store = older(tmp_path / "nextvec.db", dump_record(record()))
    found = store.load()
    assert not store.canary_revoked()
    store.save(found)
    assert store._permit.path.is_file()
    store.load()
    assert not store.canary_revoked()
    store.close()


def test_a_revoked_canary_is_revoked_for_the_next_process(tmp_path):
    """Also after another start that could not be saved, and until the next save."""
    path = tmp_path / "nextvec.db"
    store = store_at(path)
    store.save(record(1))
    store.revoke_canary()
    store._permit.grant("of a start that was not saved")
    store.close()
    again = store_at(path)
    assert record(1) == again.load()
    assert again.canary_revoked()
    again.save(RolloutRecord(replace(record().rollout, phase=Phase.ROLLED_BACK)))
    again.load()
    assert not again.canary_revoked()
    again.save(record(2))
    again.load()
    assert not again.canary_revoked()
    again.close()


def test_a_permit_that_cannot_be_written_stops_the_start(tmp_path):
    store = store_at(tmp_path / "nextvec.db")
    assert store.load() is None
    (tmp_path / "nextvec.db.canary").mkdir()
    with pytest.raises(StoreError, match=r"nextvec\.db\.canary"):
        store.save(record())
    assert store.load() is None
    store.close()


def response(key, answer="ok", actor="me"):
    return IdempotentResponse(ChangeRequest(actor, key, f"print of {key}"), {"text": answer})


def test_a_response_is_stored_by_actor_and_key(tmp_path):
    store = store_at(tmp_path / "nextvec.db")
    store.save(record(), [], [response("k", "mine"), response("k", "yours", actor="you")])
    store.close()
    assert response("k", "mine") == store.response("me", "k")
    assert response("k", "yours", actor="you") == store.response("you", "k")
    assert store.response("me", "other") is None
    store.close()


def test_the_number_of_stored_responses_is_bounded(tmp_path):
    """The oldest are dropped."""
    store = store_at(tmp_path / "nextvec.db")
    store.save(record(), [], [response(str(n)) for n in range(RESPONSES_KEPT + 5)])
    assert store.response("me", "4") is None
    assert store.response("me", "5") is not None
    store.close()


WRITER = """
import sys
from pathlib import Path
from tests.rollout.storage.test_sqlite_store import record, response, store_at
store = store_at(Path({path!r}))
for n in range(1, 100_000):
    store.save(record(n), [{{"n": n}}], [response(str(n))])
    print(n, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 7, 40])
def test_a_kill_at_any_moment_leaves_record_and_log_together(tmp_path, request, lines):
    """Every save that returned is there; the audit log has no gap and matches the record."""
    path = tmp_path / "nextvec.db"
    code = WRITER.format(path=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=request.config.rootpath, stdout=subprocess.PIPE
    ) as writer:
        for _ in range(lines):
            saved = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
    store = store_at(path)
    found = store.load()
    log = store.history(100_000)
    assert saved <= found.rollout.generation
    assert list(range(found.rollout.generation, 0, -1)) == [row["n"] for row in log]
    assert record(found.rollout.generation) == found
    assert store.response("me", str(found.rollout.generation)) is not None
    assert store.response("me", str(found.rollout.generation + 1)) is None
    store.save(record(1))
    store.close()
