"""Outcomes reach whoever waits."""

from __future__ import annotations

import numpy as np

from service.inference.scheduling.job import EngineResult, Job, settle
from tests.support.fakes import DIM, fault, unit_vectors

STATE = np.zeros((1, DIM), np.float32)
RESULT = EngineResult(unit_vectors(1)[0], STATE, 0.0, 0.0)


class Recorder:
    """Acts as a future, and notes what it gets."""

    def __init__(self, *, gone=False, broken=False):
        self.gone, self.broken, self.got = gone, broken, []

    def done(self):
        return self.gone

    def set_result(self, result):
        if self.broken:
            raise RuntimeError("a bug")
        self.got.append(result)

    set_exception = set_result


def test_each_gets_its_own_unless_it_has_gone_or_fails(caplog):
    """One that fails is logged."""
    waiters = [Recorder(), Recorder(gone=True), Recorder(broken=True), Recorder()]
    outcomes = [RESULT, RESULT, RESULT, fault()]
    jobs = [Job(unit_vectors(1), STATE, waiter, 0.0) for waiter in waiters]
    settle(zip(jobs, outcomes, strict=True))
    assert [[RESULT], [], [], [outcomes[3]]] == [waiter.got for waiter in waiters]
    assert "could not be handed over" in caplog.text
