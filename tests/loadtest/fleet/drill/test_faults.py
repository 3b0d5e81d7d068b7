"""The schedule: seeded, and with every kind that was asked for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.fleet.drill.faults import DEFAULT_KINDS, FaultKind, make_schedule


@given(
    kinds=st.sets(st.sampled_from(FaultKind), min_size=1),
    kills=st.integers(0, 200),
    replicas=st.integers(1, 9),
    seed=st.integers(),
)
def test_a_schedule_has_the_kills_and_at_least_one_of_each_other_kind(kinds, kills, replicas, seed):
    schedule = make_schedule(kinds, kills, replicas, seed)
    counts = Counter(fault.kind for fault in schedule)
    assert counts[FaultKind.KILL] == (kills if FaultKind.KILL in kinds else 0)
    assert kinds - {FaultKind.KILL} == counts.keys() - {FaultKind.KILL}
    for fault in schedule:
        assert fault.quiet > 0 <= fault.hold
        on_one = fault.kind in {FaultKind.KILL, FaultKind.STOP}
        assert (fault.replica in range(replicas)) if on_one else fault.replica is None


def test_a_seed_gives_the_same_schedule():
    first, again, other = (make_schedule(DEFAULT_KINDS, 20, 3, seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("kind", DEFAULT_KINDS)
def test_without_being_asked_nothing_takes_all_replicas_away(kind):
    assert kind is not FaultKind.ALL
