"""The arithmetic of a fleet's size, as the documentation has it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.fleet.sizing import FleetLoad, size_fleet
from tests.support.sources import ROOT

EXAMPLE = FleetLoad(sessions=10**6, steps=1e5)
PAGE = (ROOT / "docs" / "explanation" / "scaling.md").read_text(encoding="utf-8")


def test_the_example_of_the_documentation():
    size = size_fleet(EXAMPLE)
    assert (118, 12, 18) == (size.replicas, size.redis_by_calls, size.redis_by_memory)
    assert 18 == size.redis
    assert pytest.approx(832e9, rel=0.001) == size.all_session_bytes
    assert pytest.approx(103e6, rel=0.01) == size.redis_bytes_per_second
    assert pytest.approx(0.61e9, rel=0.01) == size.caller_bytes_per_second
    assert 45 == size_fleet(FleetLoad(sessions=10**6, steps=1e5, replica_steps=4500)).replicas
    for figure in ("118", "832 GB", "103 MB", "0.61 GB"):
        assert figure in PAGE


@pytest.mark.parametrize(("history", "gigabytes"), [(1000, 832), (500, 420), (100, 91)])
def test_the_table_of_histories(history, gigabytes):
    size = size_fleet(FleetLoad(sessions=10**6, steps=1.0, history=history))
    assert gigabytes == round(size.all_session_bytes / 1e9)
    assert re.search(
        rf"^\| {history:,} \| {gigabytes} kB \| {gigabytes} GB \|$", PAGE, re.MULTILINE
    )


@given(
    sessions=st.integers(1, 10**8),
    steps=st.floats(0.1, 1e7),
    more=st.floats(1.0, 10.0),
)
def test_more_load_never_needs_less(sessions, steps, more):
    small = size_fleet(FleetLoad(sessions=sessions, steps=steps))
    large = size_fleet(FleetLoad(sessions=int(sessions * more), steps=steps * more))
    assert small.replicas <= large.replicas
    assert small.redis <= large.redis
    assert small.postgres_share <= large.postgres_share
    assert small.replicas >= 2, "one replica is no fleet"
