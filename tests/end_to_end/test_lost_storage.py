"""A real service whose disk is full, and a kill around an abort."""

from __future__ import annotations

import contextlib
import itertools
import resource
import threading
import time

import httpx

from tests.support.serving import TOKEN

PLAN = {
    "steps": [{"weight": 50, "min_dwell_seconds": 300}],
    "warm_up_seconds": 0,
    "warm_up_requests": 0,
}


def begin(server):
    assert server.admin("POST", json={"canary": "phase-3", "plan": PLAN}).status_code == 202
    assert server.wait_for("Progressing")["weight"]["set_percent"] == 50


def fill_disk(server):
    """From now on, every write of the service fails, as on a full disk."""
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, hard))


def test_an_abort_on_a_full_disk_survives_a_kill(serve):
    with serve() as server:
        begin(server)
        fill_disk(server)
        answer = server.admin("POST", "/abort", json={"reason": "stop"})
        assert (answer.status_code, answer.json()["recorded"]) == (200, False)
        assert server.status()["weight"]["set_percent"] == 0
        server.kill()
    with serve() as server:
        assert server.status()["phase"] == "RolledBack"
        assert server.status()["weight"]["set_percent"] == 0
        rows = server.admin("GET", "/history").json()
        assert [row["to"] for row in rows[:2]] == ["RolledBack", "Aborting"]
        begin(server)


def test_a_start_on_a_full_disk_does_not_begin(serve):
    with serve() as server:
        fill_disk(server)
        answer = server.admin("POST", json={"canary": "phase-3", "plan": PLAN})
        assert (answer.status_code, answer.json()["code"]) == (503, "store")
        assert server.status()["phase"] == "Healthy"
        server.kill()
    with serve() as server:
        assert server.status()["phase"] == "Healthy"


def abort_and_kill(server, delay):
    """Kill the server `delay` seconds into an abort. Returns whether that was acknowledged."""
    url = f"{server.client.base_url}/admin/v1/rollout/abort"
    acknowledged = []

    def abort():
        try:
            answer = httpx.post(url, headers={"Authorization": f"Bearer {TOKEN}"})
            acknowledged.append(answer.is_success)
        except httpx.HTTPError:
            pass

    caller = threading.Thread(target=abort)
    caller.start()
    time.sleep(delay)
    server.kill()
    caller.join()
    return acknowledged == [True]


def test_a_kill_around_an_abort_loses_no_acknowledged_one(serve):
    """At several moments, on a disk with room and on a full one; each start finds what is left."""
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(serve())
        for case in itertools.product((0.0, 0.003, 0.01), (False, True)):
            delay, full = case
            begin(server)
            if full:
                fill_disk(server)
            acknowledged = abort_and_kill(server, delay)
            server = servers.enter_context(serve())
            phase = server.status()["phase"]
            assert phase in {"RolledBack", "Progressing"}, case
            assert phase == "RolledBack" or not acknowledged, case
            if phase == "Progressing":
                assert server.admin("POST", "/abort").status_code == 200
                server.wait_for("RolledBack")
