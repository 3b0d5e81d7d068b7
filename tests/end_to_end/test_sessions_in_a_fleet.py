"""Two real servers on one Redis: kills, a zombie, and a store that goes away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from functools import partial

import numpy as np
import onnxruntime
import pytest

from tests.support.fakes import unit_vectors
from tests.support.redis_server import redis_server
from tests.support.serving import NEXTVEC, WINDOWS, serving, tokens
from tests.support.tools import need

pytestmark = need("redis-server")

DIM = 768


class GraphOracle:
    """The exported graph, run directly on the last window of a context."""

    def __init__(self, models, version="phase-2"):
        graph = models / "next-vector" / version / "model.onnx"
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.window = WINDOWS[version]

    def check(self, vectors, answer):
        vectors = np.asarray(vectors)[-self.window :]
        expected, _ = self.session.run(
            ["next_vector", "next_state"],
            {
                "vectors": vectors[:, None],
                "lengths": np.array([len(vectors)], np.int32),
                "state": np.zeros((4, 1, 512), np.float32),
            },
        )
        np.testing.assert_allclose(expected[0], answer, atol=1e-5)


@pytest.fixture(scope="module")
def oracle(models):
    return GraphOracle(models)


@pytest.fixture
def redis(tmp_path):
    """A server with an append-only file, that a test may kill."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, appendonly="yes") as running:
        yield running


@contextlib.contextmanager
def replica(models, folder, redis, name, durability="sync", **settings):
    """Run a replica with its log in a folder of its own."""
    own = folder / name
    own.mkdir(exist_ok=True)
    environment = {
        "NEXTVEC_SESSIONS__URL": redis.url,
        "NEXTVEC_SESSIONS__DURABILITY": durability,
        "NEXTVEC_FLEET__REPLICA": name,
        **settings,
    }
    with serving(models, own, **environment) as server:
        yield server


@pytest.fixture
def start(models, tmp_path, redis):
    """Start a replica: `with start("a") as server`."""
    return partial(replica, models, tmp_path, redis)


@pytest.fixture(scope="module")
def pair(models, tmp_path_factory):
    """Two replicas for the tests that kill nothing."""
    folder = tmp_path_factory.mktemp("pair")
    with (
        redis_server(folder) as redis,
        replica(models, folder, redis, "a") as a,
        replica(models, folder, redis, "b") as b,
    ):
        yield a, b


def post(server, session, vectors, **query):
    return server.client.post(
        f"/v1/sessions/{session}/vectors",
        params=query,
        content=vectors.astype("<f4").tobytes(),
        headers={"Content-Type": "application/octet-stream"},
    )


def fenced_writes(server):
    name = "nextvec_session_fenced_writes_total "
    lines = server.client.get("/metrics").text.splitlines()
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_session_outlives_its_replica_and_then_all_of_them(start, oracle, durability):
    """Killed in the middle; every answer is that of the exported graph."""
    vectors = unit_vectors(60, dim=DIM)

    def step(server, position):
        rows = vectors[position : position + 1]
        oracle.check(vectors[: position + 1], server.append("s", rows, position=position))

    with start("a", durability) as a, start("b", durability) as b:
        oracle.check(vectors[:10], a.append("s", vectors[:10], position=0))
        for position in range(10, 45):
            step(a, position)
        assert b.client.get("/v1/sessions/s").json()["length"] == 45
        a.kill()
        # The caller cannot know whether its last append was stored: it sends it again.
        step(b, 44)
        for position in range(45, 50):
            step(b, position)
        b.kill()
    with start("a", durability) as a, start("b", durability) as b:
        step(a, 50)
        step(b, 51)
        step(a, 52)
        wrong = post(b, "s", vectors[:1], position=7)
        assert (409, 53) == (wrong.status_code, wrong.json()["position"])
        assert b.client.delete("/v1/sessions/s").status_code == 204
        assert a.client.get("/v1/sessions/s").status_code == 404
        assert post(a, "s", vectors[53:54], position=53).status_code == 404


def test_any_replica_takes_steps_sequences_and_labels(pair, oracle):
    """`/v1/steps`, `/v2` sequences and `/v1/feedback` need not meet the replica that began."""
    vectors = unit_vectors(8, dim=DIM)
    a, b = pair
    for name in "xyz":
        a.append(name, vectors[:3], position=0)
    rows = [{"session": name, "position": 3, "vector": vectors[3].tolist()} for name in "xyz"]
    answered = b.client.post("/v1/steps", json={"steps": rows})
    assert answered.status_code == 200, answered.text
    for row in answered.json()["results"]:
        oracle.check(vectors[:4], np.array(row["next_vector"], np.float32))
    for position, (server, more) in enumerate(
        [(a, {"sequence_start": True}), (b, {}), (a, {"sequence_end": True})]
    ):
        answer = server.client.post(
            "/v2/models/next-vector/infer",
            json={
                "parameters": {"sequence_id": "q", **more},
                "inputs": [
                    {
                        "name": "vectors",
                        "shape": [1, 1, DIM],
                        "datatype": "FP32",
                        "data": vectors[position].tolist(),
                    }
                ],
            },
        )
        assert answer.status_code == 200, answer.text
        predicted = np.array(answer.json()["outputs"][0]["data"], np.float32)
        oracle.check(vectors[: position + 1], predicted)
    a.predict(vectors, **{"X-Request-Id": "call-1"})
    counted = [
        server.client.post(
            "/v1/feedback", json={"request_id": "call-1", "vector": vectors[0].tolist()}
        ).json()["counted"]
        for server in (b, a, b)
    ]
    assert counted == [True, False, False]


def test_a_replica_that_was_stopped_is_fenced(pair, oracle):
    """It gets the session back only as the others have left it."""
    vectors = unit_vectors(20, dim=DIM)
    a, b = pair
    before = fenced_writes(a)
    a.append("s", vectors[:5], position=0)
    a.process.send_signal(signal.SIGSTOP)
    try:
        for position in range(5, 9):
            b.append("s", vectors[position : position + 1], position=position)
    finally:
        a.process.send_signal(signal.SIGCONT)
    # Without a position: the copy in memory has 5 vectors, and is refused by the fence.
    oracle.check(vectors[:10], a.append("s", vectors[9:10]))
    assert fenced_writes(a) == before + 1
    oracle.check(vectors[:11], b.append("s", vectors[10:11], position=10))


@pytest.mark.parametrize("policy", ["refuse", "serve"])
def test_a_store_that_is_killed_and_comes_back(start, oracle, redis, policy):
    """`serve` goes on with what it holds and stores it later; `refuse` says 503 until then."""
    vectors = unit_vectors(30, dim=DIM)
    settings = {
        "NEXTVEC_SESSIONS__WHEN_STORE_DOWN": policy,
        "NEXTVEC_SESSIONS__STORE_TIMEOUT_SECONDS": "0.2",
    }
    with start("a", **settings) as a, start("b", **settings) as b:
        a.append("s", vectors[:5], position=0)
        redis.kill()
        unknown = post(a, "other", vectors[:1], position=3)
        assert (503, "session_store_unavailable") == (unknown.status_code, unknown.json()["code"])
        assert unknown.headers["retry-after"] == "1"
        length = 5
        for position in range(5, 8):
            answer = post(a, "s", vectors[position : position + 1], position=position)
            if policy == "serve":
                assert answer.status_code == 200, answer.text
                length += 1
            else:
                assert answer.status_code == 503
                break
        a.predict(vectors[:3])
        redis.start()
        while (answer := b.client.get("/v1/sessions/s")).status_code == 503 or (
            answer.json()["length"] < length
        ):
            assert answer.status_code in {200, 503}, answer.text
        rows = vectors[length : length + 1]
        oracle.check(vectors[: length + 1], b.append("s", rows, position=length))
        assert "nextvec_session_lost_vectors_total 0.0" in a.client.get("/metrics").text


def test_a_start_with_a_wrong_store_says_why_and_hides_the_password(models, tmp_path, redis):
    """Before anything else is done."""
    environment = {
        "NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "state.db"),
        "NEXTVEC_SESSIONS__URL": f"redis://nobody:open-sesame@127.0.0.1:{redis.port}/0",
    }
    ran = subprocess.run(
        [NEXTVEC, "serve", "--models", models, "--port", "0"],
        env={**os.environ, **tokens(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert "WRONGPASS" in ran.stderr
    assert f"redis://127.0.0.1:{redis.port}/0" in ran.stderr
    assert "Traceback" not in ran.stderr
    shown = subprocess.run(
        [NEXTVEC, "config", "show"],
        env={**os.environ, **tokens(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "open-sesame" not in ran.stderr + ran.stdout + shown.stdout + shown.stderr
    assert json.dumps(environment["NEXTVEC_SESSIONS__URL"]) not in shown.stdout
