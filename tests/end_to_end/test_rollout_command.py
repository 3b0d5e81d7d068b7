"""`nextvec rollout` against a real service."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.serving import NEXTVEC, tokens


def rollout(server, *arguments, **environment):
    return subprocess.run(
        [NEXTVEC, "rollout", "--url", str(server.client.base_url), *arguments],
        env={**os.environ, **tokens(), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_person_starts_pauses_and_aborts(serve):
    """The history shows each action with its reason."""
    with serve() as server:
        assert "Healthy" in rollout(server, "status").stdout
        started = rollout(server, "start", "phase-3")
        assert started.returncode == 0
        assert "rollout --url http://127.0.0.1:" in started.stdout
        assert "status --watch" in started.stdout
        server.wait_for("WarmingUp")
        assert "Paused" in rollout(server, "pause", "--reason", "lunch").stdout
        assert rollout(server, "wait").returncode == 3, "a pause needs a person"
        assert rollout(server, "abort").returncode == 0
        server.wait_for("RolledBack")
        again = rollout(server, "abort")
        assert again.returncode == 0
        assert again.stdout.startswith("There is nothing to abort. phase-3 was stopped by ")
        waited = rollout(server, "wait", NEXTVEC_URL="http://127.0.0.1:9")
        assert waited.returncode == 2
        assert waited.stdout.startswith("phase-3 was stopped by ")
        previewed = rollout(server, "retry", "--dry-run").stdout
        assert previewed.startswith("Preview, nothing was changed: RolledBack → Pending (retry)")
        assert server.status()["phase"] == "RolledBack"
        for _ in range(2):
            assert rollout(server, "retry", "--idempotency-key", "once").returncode == 0
        assert server.wait_for("WarmingUp")["attempt"] == 2
        assert rollout(server, "abort").returncode == 0
        told = rollout(server, "history").stdout
        assert "lunch" in told
        assert "RolledBack" in told


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("promote",), {}, "legal now: start"),
        (("status",), {"NEXTVEC_TOKEN": "wrong"}, "NEXTVEC_TOKEN"),
        (("start", "phase-9"), {}, "phase-9"),
        (("--url", "http://127.0.0.1:9", "status"), {}, "is the service running"),
    ],
)
def test_a_refusal_is_told_in_words(server, arguments, environment, said):
    ran = rollout(server, *arguments, **environment)
    assert ran.returncode != 0
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
