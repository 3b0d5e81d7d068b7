"""The measurement of how long a change takes, on a real server."""

from __future__ import annotations

import pytest

from loadtest.bench.rollout_propagation import measure, percentile


def test_a_percentile_is_one_of_the_values():
    assert 3.0 == percentile([1.0, 4.0, 2.0, 3.0], 0.5)
    assert 4.0 == percentile([1.0, 4.0, 2.0, 3.0], 0.99)


@pytest.mark.slow
async def test_every_change_is_read_by_every_replica(postgres):
    times = await measure(postgres.url, replicas=3, changes=5, notify=True)
    assert (5, 15) == (len(times.stored), len(times.read))
    assert all(read > 0 for read in times.read)
