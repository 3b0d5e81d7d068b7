"""The real server rolls back a canary that predicts worse, and keeps one that is as good."""

from __future__ import annotations

import concurrent.futures
import time
from itertools import count

import numpy as np
import pytest

from loadtest.demo import environment
from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES

DIM = 768
PLAN = {
    "steps": [{"weight": 50, "min_dwell_seconds": 1, "min_samples": 10, "approval": True}],
    "warm_up_seconds": 0,
    "warm_up_requests": 0,
    # This machine's timing is not what is tested.
    "guardrails": {
        **{name: {"enabled": False} for name in GUARDRAIL_NAMES if name != "quality"},
        "quality": {"required": True},
    },
}
HALVING = 2.7
"""Length of the noise added to a prediction. It lowers the cosine with the next vector from
about 0.17 to 0.06, that of the fifth of 99 random vectors: half of the predictions still hit."""


def stream(seed: int, length: int = 10):
    """Vectors that hardly change: an untrained model predicts a vector near the last one."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal(DIM) + 0.1 * rng.standard_normal((length, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def talk(server, number: int) -> None:
    for vector in stream(number):
        server.append(f"s{number}", vector[None])


def series(server, name, **labels):
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    for line in server.client.get("/metrics").text.splitlines():
        found, _, value = line.rpartition(" ")
        if found.startswith(f"{name}{{") and wanted <= set(found[len(name) + 1 : -1].split(",")):
            return float(value)
    return 0.0


def rolled_out(server, sessions: int):
    """Start a rollout, run `sessions` sessions or until the rollback, and return the status."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: talk(server, n), range(1_000_000, 1_000_030)))  # fills the pool
        assert server.admin("POST", json={"canary": "phase-3", "plan": PLAN}).status_code < 300
        server.wait_for("WarmingUp", "Progressing")
        numbers = count()
        while (status := server.status())["phase"] != "RolledBack":
            if (number := next(numbers)) * 20 >= sessions:
                break
            list(pool.map(lambda n: talk(server, n), range(number * 20, number * 20 + 20)))
    return status


@pytest.fixture
def noisy(serve):
    """A server whose canary adds noise to its predictions; options as in `serve`."""
    return serve(
        "--canary", "phase-3", launcher=environment.noisy_version_command("phase-3", HALVING)
    )


def test_a_canary_with_half_the_hits_is_rolled_back(noisy):
    """Within 2,000 canary predictions; the record gives the reason with its figures."""
    with noisy as server:
        status = rolled_out(server, 600)
        served = series(server, "nextvec_online_cosine_count", variant="canary")
        ranked = series(server, "nextvec_online_predictions_total", variant="canary")
        hits = series(server, "nextvec_online_hits_total", variant="canary", k="5")
    assert "RolledBack" == status["phase"], status
    assert "quality fail" in status["message"]
    assert "Hit@5" in status["message"]
    assert served < 2000
    assert 0.2 < hits / ranked < 0.8


def test_a_canary_as_good_as_stable_is_kept(serve):
    """Both models are untrained and predict a vector near the last one."""
    with serve("--canary", "phase-3") as server:
        status = rolled_out(server, 200)
        deadline = time.monotonic() + 30
        while not (quality := server.status()["guardrails"][0])["samples"]["canary"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert "RolledBack" != status["phase"]
    assert "quality" == quality["name"]
    assert quality["hit_at_5"]["canary"] > 0.9
