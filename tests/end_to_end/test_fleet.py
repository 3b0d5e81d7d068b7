"""Real replicas on one PostgreSQL: one rollout for all of them, whatever dies."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tests.support import postgres_server
from tests.support.fleet_serving import begin, fleet, served, wait_for, weight
from tests.support.tools import require

CONTEXT = np.ones((5, 768), np.float32)


@pytest.fixture(scope="module")
def database():
    """A server of this file's own, which its tests kill and freeze."""
    require("postgres")
    with postgres_server.running() as server:
        yield server


def test_one_rollout_for_all_replicas(models, tmp_path, database):
    """Every replica takes changes, shows the same, and is listed."""
    with fleet(models, tmp_path, database, 2) as ((one, two), _):
        begin([one, two])
        key = {"X-Routing-Key": "the same on every replica"}
        answers = [
            replica.client.post(
                "/v1/predict",
                content=CONTEXT.tobytes(),
                headers={"Content-Type": "application/octet-stream", **key},
            ).headers["x-variant"]
            for replica in (one, two)
        ]
        assert 1 == len(set(answers))
        # The verdict is by the requests of both: neither alone has served so many.
        for replica in (one, two):
            served(replica, 20)
        wait_for(lambda: judged(two) >= 40)
        wait_for(lambda: judged(two) == judged(one))
        generation = two.status()["generation"]
        paused = two.admin("POST", "/pause", headers={"If-Match": f'"{generation}"'})
        assert paused.status_code == 200, paused.text
        one.wait_for("Paused", seconds=5)
        stale = one.admin("POST", "/resume", headers={"If-Match": f'"{generation}"'})
        assert stale.status_code == 412
        listed = one.status()["fleet"]
        assert ["a", "b"] == [each["name"] for each in listed["replicas"]]
        assert listed["leader"] in {"a", "b"}
        assert two.admin("POST", "/abort").json()["recorded"] is True
        one.wait_for("RolledBack", seconds=5)
        assert one.admin("GET", "/history").json() == two.admin("GET", "/history").json()


def test_the_leader_dies_and_the_database_dies(models, tmp_path, database):
    """Another replica evaluates within the lease; without a database all withhold the canary."""
    with fleet(models, tmp_path, database, 3) as (replicas, _):
        begin(replicas)
        leader = replicas["abc".index(replicas[0].status()["fleet"]["leader"])]
        left = [replica for replica in replicas if replica is not leader]
        leader.kill()
        looked = left[0].status()["looked_at"]
        wait_for(lambda: left[0].status()["looked_at"] > looked + 1.5, 20)
        wait_for(lambda: all(weight(replica) == 50 for replica in left), 10)
        database.kill()
        try:
            started = time.monotonic()
            wait_for(lambda: all(weight(replica) == 0 for replica in left), 12)
            assert time.monotonic() - started < 12
            for replica in left:
                assert replica.predict(CONTEXT).shape == (768,)
            refused = left[0].admin("POST", "/pause", headers={"If-Match": '"3"'})
            assert (refused.status_code, refused.json()["code"]) == (503, "store")
            assert postgres_server.PASSWORD not in refused.text
        finally:
            database.start()
        wait_for(lambda: all(weight(replica) == 50 for replica in left))
        generations = [row["generation"] for row in left[0].admin("GET", "/history").json()]
        assert list(range(len(generations), 0, -1)) == generations


def test_a_frozen_database_does_not_hold_up_an_abort(models, tmp_path, database):
    """The connections stay open and nothing answers: the abort takes effect at once, answers
    that it is not stored, and is recorded once the database is back."""
    with fleet(models, tmp_path, database, 2) as ((one, two), _):
        begin([one, two])
        database.pause()
        try:
            caller = threading.Thread(target=lambda: answers.append(one.admin("POST", "/abort")))
            answers = []
            caller.start()
            wait_for(lambda: "phase-3" not in served(one, 20), 5)
            caller.join()
        finally:
            database.resume()
        assert (answers[0].status_code, answers[0].json()["code"]) == (503, "abort_not_stored")
        two.wait_for("RolledBack")
        assert one.admin("POST", "/abort").status_code == 409


def judged(replica):
    """The requests that the guardrail of errors has counted, at both variants."""
    (errors,) = (each for each in replica.status()["guardrails"] if each["name"] == "errors")
    return sum(errors["samples"].values())
