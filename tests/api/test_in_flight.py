"""The bound on predictions in progress."""

from __future__ import annotations

import pytest

from service.api.in_flight import InFlightLimit
from service.errors import QueueFull
from service.settings import EngineSettings


@pytest.mark.parametrize(("versions", "most"), [(0, 5), (1, 5), (2, 10)])
def test_each_loaded_version_may_have_a_queue_and_a_batch(versions, most):
    limit = InFlightLimit(EngineSettings(queue_limit=3, max_batch=2), lambda: versions)
    for _ in range(most):
        limit.enter()
    with pytest.raises(QueueFull, match=f"{most} predictions"):
        limit.enter()
    limit.leave()
    limit.enter()
    assert len(limit) == most
