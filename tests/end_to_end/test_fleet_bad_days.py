"""A restored backup, wrong clocks, a failover that lost writes, and what a log may not say."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support import postgres_server, wrong_clock
from tests.support.fakes import unit_vectors
from tests.support.fleet_serving import begin, fleet, served, wait_for, weight
from tests.support.forwarder import Forwarder
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.tools import need, require

pytestmark = need("redis-server")

WORD = "open-sesame-of-the-store"
HOUR = 3600.0


@pytest.fixture(scope="module")
def database():
    """A server of this file's own, which its tests kill and restore."""
    require("postgres")
    with postgres_server.running() as server:
        yield server


def metric(replica, name):
    lines = replica.client.get("/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def test_a_backup_restored_under_running_replicas_brings_no_canary_back(models, tmp_path, database):
    """The backup says 50 %; the replicas know of the abort that came after it."""
    backup = Path(database.folder) / "nextvec.dump"
    with fleet(models, tmp_path, database, 2) as ((one, two), join):
        begin([one, two])
        database.dump(backup)
        assert one.admin("POST", "/abort").status_code == 200
        two.wait_for("RolledBack")
        seen, ended = set(), threading.Event()

        def watch():
            while not ended.is_set():
                seen.update(served(one, 2) | served(two, 2))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            database.restore(backup)
            for replica in (one, two):
                wait_for(lambda replica=replica: metric(replica, "nextvec_fleet_record_outdated"))
            # One that comes later has seen nothing itself, and is told by the others.
            three = join("c")
            assert "a backup restored?" in wait_for(lambda: three.status()["fleet"]["withheld"])
            assert 0 == weight(three)
        finally:
            ended.set()
            watcher.join()
        assert {"phase-2"} == seen | served(three, 20)
        assert two.admin("POST", "/abort").status_code == 200
        for replica in (one, two, three):
            replica.wait_for("RolledBack")
            wait_for(lambda replica=replica: replica.status()["fleet"]["withheld"] is None)
            assert 0 == metric(replica, "nextvec_fleet_record_outdated")


def test_clocks_an_hour_apart_and_one_that_jumps_change_nothing(models, tmp_path, database):
    """The rollout goes by PostgreSQL's clock, and sessions by Redis's."""
    errors = {"a": HOUR, "b": -HOUR, "c": 0.0}

    launcher = (sys.executable, Path(wrong_clock.__file__), "serve")

    def set_clock(name, error):
        (tmp_path / f"new-{name}").write_text(str(error))
        (tmp_path / f"new-{name}").rename(tmp_path / f"clock-{name}")

    def clock(name):
        set_clock(name, errors[name])
        return {"launcher": launcher, "WRONG_CLOCK": str(tmp_path / f"clock-{name}")}

    began = time.time()
    vectors = unit_vectors(12, dim=768)
    with (
        redis_server(tmp_path) as redis,
        fleet(
            models,
            tmp_path,
            database,
            0,
            NEXTVEC_SESSIONS__URL=redis.url,
            NEXTVEC_SESSIONS__TTL_SECONDS="60",
        ) as (_, join),
    ):
        replicas = [join(name, **clock(name)) for name in errors]
        one, two, three = replicas
        begin(replicas)
        for position in range(6):
            replicas[position % 3].append("s", vectors[position : position + 1], position=position)
        since = one.status()["step_since"]
        set_clock("a", -HOUR)  # two hours back
        set_clock("c", HOUR)
        looked = two.status()["looked_at"]
        wait_for(lambda: two.status()["looked_at"] > looked + 4)
        for position in range(6, 12):
            replicas[position % 3].append("s", vectors[position : position + 1], position=position)
        for replica in replicas:
            status = replica.status()
            assert ("Progressing", 50, None) == (
                status["phase"],
                weight(replica),
                status["fleet"]["withheld"],
            )
            assert since == pytest.approx(status["step_since"], abs=1.0)
        answer = three.admin("POST", "/abort")
        assert answer.status_code == 200
        one.wait_for("RolledBack", seconds=5)
        times = [row["at"] for row in two.admin("GET", "/history").json()[::-1]]
    assert times == sorted(times)
    assert began - 1 < times[0]
    assert times[-1] < time.time() + 1


def offset(server, name):
    """How far a Redis has come, in bytes of its replication."""
    lines = server.command("INFO", "replication").decode().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_failover_that_lost_writes_is_told_and_answers_stay_right(
    models, tmp_path, database, durability
):
    """Redis acknowledged appends that its replica never got; then the replica takes over."""
    vectors = unit_vectors(30, dim=768)
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(redis_server(tmp_path / "old"))
        new = stack.enter_context(redis_server(tmp_path / "new", replicaof=f"127.0.0.1 {old.port}"))
        way = Forwarder(old.port)
        stack.callback(way.close)
        settings = {
            "NEXTVEC_SESSIONS__URL": f"redis://127.0.0.1:{way.port}",
            "NEXTVEC_SESSIONS__DURABILITY": durability,
        }
        (a, b), _ = stack.enter_context(fleet(models, tmp_path, database, 2, **settings))

        def step(server, session, position):
            return server.client.post(
                f"/v1/sessions/{session}/vectors",
                params={"position": position},
                content=vectors[position : position + 1].astype("<f4").tobytes(),
                headers={"Content-Type": "application/octet-stream"},
            )

        def right(answer, position):
            """The answer is that of a session without a failover."""
            assert answer.status_code == 200, answer.text
            wanted = a.predict(vectors[max(0, position - 19) : position + 1])
            np.testing.assert_allclose(wanted, answer.json()["next_vector"], atol=1e-5)

        for session in ("held", "moved", "begun"):
            for position in range(0 if session == "begun" else 8):
                right(step(a, session, position), position)
        wait_for(lambda: offset(new, "slave_repl_offset") == offset(old, "master_repl_offset"))
        assert new.command("REPLICAOF", "127.0.0.1", str(free_port())) == b"OK"  # cut off
        for position in range(8, 12):
            right(step(a, "held", position), position)
            right(step(a, "moved", position), position)
        right(step(a, "begun", 0), 0)
        wait_for(lambda: metric(a, "nextvec_session_backlog_vectors") == 0)
        old.kill()
        assert new.command("REPLICAOF", "NO", "ONE") == b"OK"
        way.lead_to(new.port)
        for replica in (a, b):
            wait_for(lambda replica=replica: metric(replica, "nextvec_session_store_up"))
        # The replica that holds the session has what was lost, and sends it again.
        right(step(a, "held", 12), 12)
        right(step(b, "held", 13), 13)
        # Another replica has not: it says so, and the caller goes on from there.
        told = step(b, "moved", 12)
        assert 409 == told.status_code, told.text
        assert 8 == told.json()["position"]
        for position in range(8, 13):
            right(step(b, "moved", position), position)
        assert 404 == step(b, "begun", 1).status_code
        right(step(b, "begun", 0), 0)


def test_no_password_is_in_what_a_fleet_says(models, tmp_path, database):
    """Logs, metrics, status, audit log and errors, while all that can fail does."""
    secret_path = "T0-hook-of-the-test"
    webhooks = json.dumps([{"url": f"http://127.0.0.1:{free_port()}/{secret_path}", "name": "x"}])
    said = []
    with (
        redis_server(tmp_path, requirepass=WORD) as redis,
        fleet(
            models,
            tmp_path,
            database,
            2,
            NEXTVEC_SESSIONS__URL=f"redis://:{WORD}@127.0.0.1:{redis.port}",
            NEXTVEC_SESSIONS__STORE_TIMEOUT_SECONDS="0.2",
            NEXTVEC_ROLLOUT__WEBHOOKS=webhooks,
            NEXTVEC_LOG__LEVEL="debug",
        ) as ((one, two), _),
    ):

        def listen(*answers):
            said.extend(answer.text for answer in answers)
            for replica in (one, two):
                said.append(replica.client.get("/metrics").text)
                said.append(json.dumps(replica.status()))

        begin([one, two])
        one.append("s", unit_vectors(2, dim=768), position=0)
        redis.kill()
        listen(one.client.get("/v1/sessions/s"), two.client.delete("/v1/sessions/s"))
        redis.options["requirepass"] = "another"
        redis.start()
        wait_for(lambda: "WRONGPASS" in one.log.read_text())
        listen(one.client.get("/v1/sessions/s"))
        database.sql("ALTER USER nextvec PASSWORD 'changed'")
        database.kill()
        database.start()
        wait_for(lambda: "password authentication failed" in two.log.read_text())
        listen(one.admin("POST", "/abort"), two.admin("GET", "/history"))
        try:
            said += [replica.log.read_text() for replica in (one, two)]
        finally:
            database.sql(
                f"ALTER USER nextvec PASSWORD '{postgres_server.PASSWORD}'", password="changed"
            )
    text = "\n".join(said)
    assert "password authentication failed" in text
    for secret in (WORD, postgres_server.PASSWORD, postgres_server.QUOTED, secret_path):
        assert secret not in text
