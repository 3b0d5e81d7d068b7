"""Webhooks of a fleet: whoever leads tells them, whoever makes the change, whoever dies."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from tests.support import postgres_server
from tests.support.fleet_serving import begin, fleet, wait_for
from tests.support.tools import require


@pytest.fixture(scope="module")
def database():
    require("postgres")
    with postgres_server.running() as server:
        yield server


@pytest.fixture
def receiver():
    """The address of a receiver, and what it was told: pairs of an id and a transition."""
    told = []

    class ReceiverHandler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append((self.headers["webhook-id"], body["data"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ReceiverHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


def change(replica, verb):
    """Ask for a change, however often another replica is faster."""

    def attempt():
        generation = replica.status()["generation"]
        answer = replica.admin("POST", f"/{verb}", headers={"If-Match": f'"{generation}"'})
        assert answer.status_code in {200, 412}, answer.text
        return answer.status_code == 200

    wait_for(attempt)


def test_webhooks_hear_every_transition_when_the_leader_is_killed(
    models, tmp_path, database, receiver
):
    """In order and at least once; what is told again has the same id."""
    address, told = receiver
    webhooks = json.dumps([{"url": address, "name": "chat"}])
    with fleet(models, tmp_path, database, 3, NEXTVEC_ROLLOUT__WEBHOOKS=webhooks) as (replicas, _):
        begin(replicas)
        leader = replicas["abc".index(replicas[0].status()["fleet"]["leader"])]
        one, two = [replica for replica in replicas if replica is not leader]
        # The leader tells at once what another replica has changed.
        change(one, "pause")
        wait_for(lambda: "Paused" in [row["to"] for _, row in told], 5)
        change(two, "resume")
        leader.kill()
        assert one.admin("POST", "/abort").status_code == 200
        wait_for(lambda: "RolledBack" in [row["to"] for _, row in told])
        history = two.admin("GET", "/history").json()[::-1]
    first = list(dict.fromkeys(identity for identity, _ in told))
    assert len(history) == len(first)
    by_id = dict(told)
    assert [row["generation"] for row in history] == [by_id[each]["generation"] for each in first]
    assert all(row == by_id[identity] for identity, row in told)
