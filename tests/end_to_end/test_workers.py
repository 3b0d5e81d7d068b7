"""HTTP in processes of its own: the same service, whichever process answers, and whichever dies."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from tests.support.fakes import unit_vectors
from tests.support.processes import (
    children,
    engine_process,
    is_alive,
    wait_until,
    worker_processes,
)
from tests.support.serving import NEXTVEC, TOKEN, tokens
from tests.support.tls_files import make_certificate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="http.workers requires Linux")

WORKERS = ("--http-workers", "2")
OCTETS = {"Content-Type": "application/octet-stream"}
DIM = 768


@pytest.fixture
def workers(serve):
    """Start a server with two workers; keywords are environment variables."""

    def start(*arguments, **environment):
        return serve(*WORKERS, *arguments, **environment)

    return start


def body(count, seed=0):
    return unit_vectors(count, seed=seed, dim=DIM).astype("<f4").tobytes()


@pytest.fixture
def clients():
    """Make clients with a connection each; the kernel spreads them over the workers."""
    with contextlib.ExitStack() as stack:

        def make(server, count):
            return [
                stack.enter_context(httpx.Client(base_url=server.client.base_url, timeout=30))
                for _ in range(count)
            ]

        yield make


def is_ready(server):
    try:
        return httpx.get(f"{server.client.base_url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def total(server, name):
    """The sum of all series of a metric."""
    page = server.client.get("/metrics").text
    return sum(
        float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"{name}{{")
    )


def test_all_of_the_service_works_on_any_worker(workers, clients):
    """Sessions, contexts, tensors, labels, admin, console and one set of metrics."""
    with workers("--canary", "phase-3") as server:
        assert len(worker_processes(server)) == 2
        vectors = unit_vectors(12, dim=DIM)
        callers = clients(server, 12)
        for position, caller in enumerate(callers):
            answer = caller.post(
                "/v1/sessions/s/vectors",
                params={"position": position},
                content=vectors[position].tobytes(),
                headers=OCTETS,
            )
            assert answer.status_code == 200, answer.text
            assert {"x-request-id", "x-variant", "x-model-version", "server-timing"} <= set(
                answer.headers
            )
        whole = callers[0].post("/v1/predict", content=vectors.tobytes(), headers=OCTETS)
        np.testing.assert_allclose(
            whole.json()["next_vector"], answer.json()["next_vector"], atol=1e-5
        )
        large = callers[0].post("/v1/predict", content=body(500), headers=OCTETS)
        assert large.status_code == 200
        tensor = {"name": "vectors", "shape": [1, DIM], "datatype": "FP32"}
        infer = {"inputs": [{**tensor, "data": vectors[:1].ravel().tolist()}]}
        for caller in callers:
            assert caller.get("/v1/sessions/s").json()["length"] == 12
            assert caller.post("/v2/models/next-vector/infer", json=infer).status_code == 200
            assert "nextvec" in caller.get("/console").text
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert caller.get("/admin/v1/rollout", headers=headers).json()["phase"] == "Healthy"
            # An unusual request: the engine process answers all of it.
            pieces = iter([vectors[:1].tobytes(), vectors[1:2].tobytes()])
            assert caller.post("/v1/predict", content=pieces, headers=OCTETS).status_code == 200
        label = {"request_id": whole.headers["x-request-id"], "vector": vectors[0].tolist()}
        assert server.client.post("/v1/feedback", json=label).json()["counted"]
        assert total(server, "nextvec_requests_total") == 12 + 2 + 12 + 12
        refused = server.client.post("/v1/predict", content=b"abc", headers=OCTETS)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed")


def test_an_event_stream_reaches_its_caller_and_ends_with_the_service(workers):
    with workers() as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with server.client.stream("GET", "/admin/v1/rollout/events", headers=headers) as events:
            lines = events.iter_lines()
            assert next(lines) == "event: status"
            server.process.terminate()
            list(lines)
        assert server.process.wait(timeout=30) == 0


def test_a_worker_that_is_killed_costs_only_its_own_requests(workers, clients):
    """It is replaced, sessions stay, and the other worker serves meanwhile, also if it hangs."""
    with workers() as server:
        server.append("s", unit_vectors(3, dim=DIM))
        os.kill(worker_processes(server)[0], signal.SIGSTOP)
        for number, caller in enumerate(clients(server, 10)):
            # The other worker accepts what the kernel has given to this one.
            answer = caller.post("/v1/predict", content=body(2, number), headers=OCTETS)
            assert answer.status_code == 200
        os.kill(worker_processes(server)[0], signal.SIGCONT)
        before = worker_processes(server)
        victim = before[0]
        # A connection to each worker that waits in the middle of a request.
        callers = clients(server, 8)
        for caller in callers:
            assert caller.get("/v2/health/live").status_code == 200
        os.kill(victim, signal.SIGKILL)
        failed = 0
        for caller in callers:
            try:
                answer = caller.post("/v1/predict", content=body(2), headers=OCTETS)
                assert answer.status_code == 200
            except httpx.TransportError:
                failed += 1  # its connection was the victim's
        assert failed < len(callers)
        wait_until(lambda: len(set(worker_processes(server)) - {victim}) == 2)
        assert engine_process(server)
        fresh = httpx.get(f"{server.client.base_url}/v1/sessions/s")
        assert fresh.json()["length"] == 3
        assert "was ended by SIGKILL; it starts again" in server.log.read_text()


def test_all_come_back_when_the_engine_process_is_killed_under_load(workers):
    """Requests end with an error at once, none hangs; nothing of the old processes is left."""
    with workers() as server:
        old = children(server.process.pid)
        statuses = []

        def call(number):
            try:
                with httpx.Client(base_url=server.client.base_url, timeout=20) as caller:
                    for again in range(50):
                        answer = caller.post(
                            "/v1/predict", content=body(40, 50 * number + again), headers=OCTETS
                        )
                        statuses.append(answer.status_code)
            except httpx.TransportError:
                statuses.append(0)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(call, number) for number in range(8)]
            wait_until(lambda: statuses.count(200) > 20)
            os.kill(engine_process(server), signal.SIGKILL)
            for each in calls:
                each.result(timeout=30)
        assert set(statuses) <= {200, 503, 0}
        wait_until(lambda: is_ready(server))
        assert not any(is_alive(pid) for pid in old)
        server.predict(unit_vectors(2, dim=DIM))
        assert "all start again in 0.5 s" in server.log.read_text()
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0


def test_workers_speak_https(workers, tmp_path):
    certificate = make_certificate(tmp_path, "first")
    (tmp_path / "ca.pem").write_bytes(certificate)
    with workers(
        ca=tmp_path / "ca.pem",
        NEXTVEC_TLS__CERTIFICATE=str(tmp_path / "tls.crt"),
        NEXTVEC_TLS__KEY=str(tmp_path / "tls.key"),
    ) as server:
        assert len(server.predict(unit_vectors(2, dim=DIM))) == DIM
        assert server.status()["phase"] == "Healthy"
        port = server.client.base_url.port
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/v2/health/live")


def test_no_process_survives_the_parent_and_the_next_start_finds_nothing_in_its_way(workers):
    """`kill -9` of the parent, then the same command again on the same state."""
    with workers() as server:
        orphans = children(server.process.pid)
        assert len(orphans) == 3
        server.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in orphans))
    with workers() as server:
        server.predict(unit_vectors(2, dim=DIM))


def test_a_drain_serves_while_readiness_fails(workers, clients):
    """A connection that is open is served until the end; the exit status is 0."""
    with workers(NEXTVEC_HTTP__DRAIN_SECONDS="1.5") as server:
        callers = clients(server, 6)
        for caller in callers:
            assert caller.get("/v2/health/ready").status_code == 200
        server.process.terminate()
        wait_until(
            lambda: all(each.get("/v2/health/ready").status_code == 503 for each in callers), 1.5
        )
        for caller in callers:
            answer = caller.post("/v1/predict", content=body(3), headers=OCTETS)
            assert answer.status_code == 200
        assert server.process.wait(timeout=30) == 0
        assert "killed" not in server.log.read_text()


def test_a_terminal_that_is_closed_stops_it_cleanly(workers):
    with workers() as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(timeout=30) == 0


def test_the_limits_of_a_key_hold_for_all_workers_together(workers, clients):
    """And so do the counts of failed log-ins."""
    key = "a-key-of-twenty-chars"
    keys = f'[{{"name": "a", "key": "{key}", "requests_per_second": 4}}]'
    with workers(NEXTVEC_CALLERS__KEYS=keys) as server:
        callers = clients(server, 10)
        headers = {**OCTETS, "X-API-Key": key}
        began = time.monotonic()
        statuses = [
            caller.post("/v1/predict", content=body(2), headers=headers).status_code
            for caller in callers
        ]
        allowed = 4 + 4 * (time.monotonic() - began)
        assert set(statuses) == {200, 429}
        assert statuses.count(200) <= allowed + 1
        for caller in callers[:3]:
            wrong = {**OCTETS, "X-API-Key": "wrong"}
            assert caller.post("/v1/predict", content=body(2), headers=wrong).status_code == 401
            assert caller.post("/v1/predict", content=body(2), headers=OCTETS).status_code == 401
        assert total(server, "nextvec_failed_logins_total") == 6
        log = server.log.read_text()
        assert "from 127.0.0.1, failure 6 of this address" in log
        assert key not in log


def test_too_many_requests_are_refused_and_none_waits(workers):
    """Twenty contexts at once, of which a handful may be in progress."""
    small = {"NEXTVEC_ENGINE__QUEUE_LIMIT": "2", "NEXTVEC_ENGINE__MAX_BATCH": "1"}
    with workers(**small) as server:
        with concurrent.futures.ThreadPoolExecutor(20) as pool:

            def call(number):
                with httpx.Client(base_url=server.client.base_url, timeout=20) as caller:
                    sent = body(1000, number)
                    return caller.post("/v1/predict", content=sent, headers=OCTETS).status_code

            statuses = list(pool.map(call, range(20)))
        assert set(statuses) == {200, 429}
        server.predict(unit_vectors(2, dim=DIM))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--stable", "phase-9"), "phase-9"),
        (("--http-workers", "0"), "http.workers"),
        (("--http-workers", "many"), "http.workers"),
    ],
)
def test_a_start_that_fails_is_not_repeated(models, tmp_path, arguments, said):
    ran = subprocess.run(
        [NEXTVEC, "serve", "--models", models, "--port", "0", *WORKERS, *arguments],
        env={**os.environ, **tokens(), "NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "state.db")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "start again" not in ran.stderr


def test_an_address_in_use_is_not_shared(models, tmp_path):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = str(taken.getsockname()[1])
        ran = subprocess.run(
            [NEXTVEC, "serve", "--models", models, "--port", port, *WORKERS],
            env={**os.environ, "NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "state.db")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 3
    assert "choose another address" in ran.stderr


def test_a_stop_before_the_service_is_ready_is_no_failure(models, tmp_path):
    """All processes have ended with their parent."""
    log = tmp_path / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [NEXTVEC, "serve", "--models", models, "--port", "0", *WORKERS],
            env={**os.environ, "NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "state.db")},
            stderr=output,
        )
    started = wait_until(lambda: len(found := children(process.pid)) == 3 and found, 60)
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert not any(is_alive(pid) for pid in started)
    assert "Traceback" not in log.read_text()
