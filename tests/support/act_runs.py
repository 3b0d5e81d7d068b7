"""Runs of the demo's acts, as the tests of its output need them."""

from __future__ import annotations

from loadtest.demo.run import ActRun
from loadtest.demo.scenario import ACTS
from loadtest.generator.request_log import RequestLog
from loadtest.rollout_client import parse_sample
from tests.support.rollout_status import status


class FakeDriver:
    """Thirty seconds of traffic: Phase-3 twice as slow as Phase-2."""

    def __init__(self, requests=None):
        self.requests = requests
        if requests is None:
            stable = [RequestLog(i / 4, 0, 0.1, 200, "stable", "phase-2") for i in range(120)]
            canary = [RequestLog(i / 4, 0, 0.2, 200, "canary", "phase-3") for i in range(40, 80)]
            self.requests = stable + canary

    def now(self):
        return 30.0


def act_run(act=ACTS[0], **changes):
    failed = status()["guardrails"][0] | {"outcome": "fail", "message": "fail: ln E = 5.1"}
    rolled_back = status(
        phase="RolledBack", weight={"set_percent": 0.0}, guardrails=[failed], generation=4
    )
    samples = [parse_sample(status(weight={"set_percent": 0.0}, guardrails=[]), 0.0)]
    samples += [parse_sample(status(), float(at)) for at in range(10, 20)]
    samples += [parse_sample(rolled_back, float(at)) for at in range(20, 31)]
    values = {"samples": samples, "rate": 4.0, "started": 8.0, "ended": 20.0} | changes
    return ActRun(act, FakeDriver(), **values)
