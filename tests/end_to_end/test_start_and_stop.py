"""Start, refusal to start, and a kill at any moment."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.support.fakes import unit_vectors
from tests.support.serving import NEXTVEC, TOKEN, tokens

PLAN = {
    "steps": [{"weight": 30, "min_dwell_seconds": 1}, {"weight": 60, "approval": True}],
    "warm_up_seconds": 0.5,
    "warm_up_requests": 5,
    "settle_seconds": 0.1,
    "baseline_samples": 100,
}


def start_rollout(server, canary="phase-3"):
    return server.admin("POST", json={"canary": canary, "plan": PLAN})


def call(server, first, count):
    """Predict with `count` new routing keys: the same ones might all belong to stable."""
    for number in range(first, first + count):
        server.predict(unit_vectors(2, seed=number, dim=768), **{"X-Routing-Key": str(number)})


@pytest.mark.parametrize("moment", ["WarmingUp", "Progressing"])
def test_a_killed_service_resumes_its_rollout(serve, moment):
    """Phase, weight and history are as before; evidence is not counted twice; abort works."""
    calls = 0
    with serve() as server:
        assert start_rollout(server).status_code == 202
        server.wait_for("WarmingUp")
        while moment == "Progressing" and server.status()["phase"] == "WarmingUp":
            call(server, calls, 10)
            calls += 10
        before = server.status()
        history = server.admin("GET", "/history").json()
        server.kill()
    with serve() as server:
        after = server.status()
        for key in ("phase", "generation", "stable", "canary", "step", "plan"):
            assert before[key] == after[key]
        assert before["weight"]["set_percent"] == after["weight"]["set_percent"]
        assert history == server.admin("GET", "/history").json()
        for judged, again in zip(before["guardrails"], after["guardrails"], strict=True):
            assert sum(judged["samples"].values()) <= sum(again["samples"].values()) <= calls
        assert server.admin("POST", "/abort").status_code == 200
        server.wait_for("RolledBack")
        assert server.status()["weight"]["set_percent"] == 0
        answer = server.client.post(
            "/v1/predict", json={"context": unit_vectors(1, dim=768).tolist()}
        )
        assert answer.headers["x-variant"] == "stable"


def test_an_unreadable_state_means_all_traffic_on_stable(serve, tmp_path):
    """The unreadable file is renamed, and the log says so."""
    (tmp_path / "state.db").write_bytes(b"this is no database" * 100)
    with serve() as server:
        status = server.status()
        assert (status["phase"], status["weight"]["set_percent"]) == ("Healthy", 0)
        assert list(tmp_path.glob("state.db.unreadable-*"))
        assert "unreadable" in server.log.read_text()


def test_a_canary_with_a_wrong_digest_never_gets_a_request(serve, models, tmp_path):
    """The rollout fails in preparation, and stable serves all traffic."""
    damaged = tmp_path / "models"
    shutil.copytree(models, damaged)
    with (damaged / "next-vector" / "phase-3" / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\x00\x01\x02\x03")
    with serve("--canary", "phase-3", models=damaged) as server:
        assert "stable serves without it" in server.log.read_text()
        start_rollout(server)
        status = server.wait_for("RolledBack")
        assert "sha256" in status["message"]
        call(server, 0, 20)


def test_a_missing_canary_is_not_found(server):
    """The response is 404, and the state is unchanged."""
    before = server.status()
    answer = start_rollout(server, "phase-9")
    assert answer.status_code == 404
    assert "phase-9" in answer.json()["error"]
    assert server.status()["generation"] == before["generation"]


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--stable", "phase-9"], {}, "phase-9"),
        ([], {"NEXTVEC_ENGINE__DEVICE": "tpu"}, "engine.device"),
        ([], {"NEXTVEC_LIMITS__MAX_ROWS": "none"}, "limits.max_rows"),
    ],
)
def test_a_wrong_option_stops_the_start_with_a_reason(
    models, tmp_path, arguments, environment, said
):
    """The exit status is not zero."""
    database = {"NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "state.db")}
    ran = subprocess.run(
        [NEXTVEC, "serve", "--models", models, "--port", "0", *arguments],
        env={**os.environ, **tokens(), **database, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_cuda_without_a_gpu_is_refused(models, tmp_path):
    """ONNX Runtime would silently fall back to the CPU."""
    ran = subprocess.run(
        [NEXTVEC, "serve", "--models", models, "--port", "0"],
        env={
            **os.environ,
            "NEXTVEC_ENGINE__DEVICE": "cuda",
            # Hidden from CUDA, a GPU that happens to be here does not change the test.
            "CUDA_VISIBLE_DEVICES": "-1",
            "NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "state.db"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert "engine.device is cuda" in ran.stderr


def test_sigterm_stops_the_service_cleanly(serve):
    """After SIGTERM the exit status is 0."""
    with serve() as server:
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0


def test_an_open_event_stream_does_not_block_the_stop(serve):
    """An event stream ends when the service stops."""
    with serve() as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with server.client.stream("GET", "/admin/v1/rollout/events", headers=headers) as events:
            lines = events.iter_lines()
            assert next(lines) == "event: status"
            server.process.terminate()
            list(lines)
        assert server.process.wait(timeout=30) == 0
        assert "graceful shutdown exceeded" not in server.log.read_text()


def test_a_canary_that_faults_while_it_warms_up_does_not_keep_stable_down(serve, models, tmp_path):
    """The manifest may contradict the graph."""
    damaged = tmp_path / "models"
    shutil.copytree(models, damaged)
    manifest = damaged / "next-vector" / "phase-3" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"hidden": 512', '"hidden": 256'))
    assert '"hidden": 256' in manifest.read_text()
    with serve("--canary", "phase-3", models=damaged) as server:
        assert "stable serves without it" in server.log.read_text()
        call(server, 0, 3)
