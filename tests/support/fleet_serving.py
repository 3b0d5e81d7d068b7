"""Real replicas of one rollout on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import secrets
import time

import numpy as np

from tests.support.serving import serving

PLAN = {
    "steps": [{"weight": 50, "min_dwell_seconds": 300}],
    "warm_up_seconds": 0,
    "warm_up_requests": 0,
}
RANDOM = np.random.default_rng(0)


@contextlib.contextmanager
def fleet(models, folder, database, size, **environment):
    """`size` replicas of a fleet of their own, and a function that adds one.

    Killed ones may be left behind. `environment` is that of all.
    """
    with contextlib.ExitStack() as stack:
        name = f"fleet-{secrets.token_hex(4)}"

        def join(replica, **own):
            place = folder / replica
            place.mkdir(exist_ok=True)
            return stack.enter_context(
                serving(
                    models,
                    place,
                    NEXTVEC_ROLLOUT__URL=database.url,
                    NEXTVEC_ROLLOUT__INTERVAL_SECONDS="1",
                    NEXTVEC_FLEET__NAME=name,
                    NEXTVEC_FLEET__REPLICA=replica,
                    **{**environment, **own},
                )
            )

        yield [join(letter) for letter in "abc"[:size]], join


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def weight(replica):
    """The canary's weight that this replica routes by."""
    metrics = replica.client.get("/metrics").text
    withheld = "nextvec_fleet_canary_withheld 1.0" in metrics
    return 0.0 if withheld else replica.status()["weight"]["set_percent"]


def begin(replicas):
    answer = replicas[0].admin("POST", json={"canary": "phase-3", "plan": PLAN})
    assert answer.status_code == 202, answer.text
    for replica in replicas:
        replica.wait_for("Progressing")
    wait_for(lambda: all(weight(replica) == 50 for replica in replicas))


def served(replica, count):
    """The versions that serve `count` requests of new callers."""
    return {
        replica.client.post(
            "/v1/predict",
            content=RANDOM.standard_normal((5, 768), np.float32).tobytes(),
            headers={"Content-Type": "application/octet-stream"},
        ).headers["x-model-version"]
        for _ in range(count)
    }
