"""A client's session against a service that loses requests, answers and sessions at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nextvec.errors import Error
from tests.support.client_service import (
    DIM,
    FAULTS,
    FakeTime,
    InMemoryService,
    client_of,
    expected_prediction,
)

pytestmark = pytest.mark.slow

pytestmark = pytest.mark.slow

IDS = ("a", "b")
faults = st.lists(st.sampled_from(FAULTS), max_size=4)


class SessionLosses(RuleBasedStateMachine):
    """Whatever happens, each vector that the caller appended is in the context, once, in order.

    The caller's own list is the truth: a prediction must be that of the list, and a failed append
    must have changed nothing for the caller, who may append others instead.
    """

    def __init__(self):
        super().__init__()
        self.service = InMemoryService()
        self.client = client_of(self.service, FakeTime(), max_retries=2, deadline=60)
        self.sessions = {name: self.client.session(name) for name in IDS}
        self.appended = {name: [] for name in IDS}
        self.number = 0

    def draw(self, count):
        """`count` vectors that occur nowhere else."""
        self.number += count
        first = self.number - count
        return np.array([[n, n**0.5, 1, n % 7] for n in range(first, self.number)], np.float32)

    @rule(name=st.sampled_from(IDS), count=st.integers(1, 9), faults=faults, again=st.booleans())
    def append(self, name, count, faults, again):
        rows = self.draw(count)
        self.service.faults.extend(faults)
        for _ in range(2 if again else 1):
            try:
                prediction = self.sessions[name].append(rows)
            except Error:
                continue
            self.appended[name].extend(rows)
            self.check(name, prediction.vector)
            assert len(self.appended[name]) == prediction.length
            return

    @rule(faults=faults)
    def step_both(self, faults):
        rows = self.draw(len(IDS))
        self.service.faults.extend(faults)
        try:
            results = self.client.steps([self.sessions[name] for name in IDS], rows)
        except Error:
            return
        for name, row, result in zip(IDS, rows, results, strict=True):
            if result.error is None:
                self.appended[name].append(row)
                self.check(name, result.vector)

    @rule(name=st.sampled_from(IDS))
    def evict(self, name):
        self.service.evict(name)

    @rule()
    def restart(self):
        self.service.restart()

    @rule(name=st.sampled_from(IDS))
    def fall_back_to_an_older_copy(self, name):
        held = self.service.sessions.get(name)
        if held:
            self.service.sessions[name] = held[: len(held) // 2]
            self.service.last.pop(name, None)

    @rule(name=st.sampled_from(IDS))
    def delete(self, name):
        self.service.faults.clear()
        self.sessions[name].delete()
        self.appended[name] = []

    @invariant()
    def the_client_counts_what_was_appended(self):
        for name in IDS:
            assert len(self.appended[name]) == self.sessions[name].length

    def check(self, name, vector):
        np.testing.assert_array_equal(expected_prediction(self.appended[name]), vector)

    def teardown(self):
        """Without faults, every session goes on."""
        self.service.faults.clear()
        for name in IDS:
            rows = self.draw(1)
            self.appended[name].extend(rows)
            self.check(name, self.sessions[name].append(rows).vector)


SessionLosses.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestSessionLosses = SessionLosses.TestCase


def test_the_vectors_of_this_test_are_told_apart():
    """A prediction changes if a vector is missing, doubled or moved."""
    rows = np.arange(DIM * 3, dtype=np.float32).reshape(3, DIM)
    expected = expected_prediction(rows)
    for other in (rows[1:], rows[[0, 1, 1, 2]], rows[[1, 0, 2]]):
        assert not np.array_equal(expected, expected_prediction(other))
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(expected, expected_prediction(rows[1:]))
