"""What predictions say besides the vector."""

from __future__ import annotations

import numpy as np
import pytest

from nextvec.errors import OverloadError
from nextvec.exchange import Reply
from nextvec.results import PredictedVector, ServerTiming, SessionInfo, StepResult


def test_the_headers_are_read():
    headers = {
        "x-request-id": "r1",
        "x-variant": "canary",
        "x-model-version": "phase-3",
        "server-timing": "queue;dur=1.570, inference;dur=119.400, total;dur=124.311",
    }
    found = PredictedVector.of_reply(Reply(200, headers, b""), np.ones(2), 3)
    assert ("r1", "canary", "phase-3", 3) == (found.id, found.variant, found.version, found.length)
    assert ServerTiming(1.57, 119.4, 124.311) == found.timing
    assert "array" not in repr(found)


@pytest.mark.parametrize("text", ["", "nonsense", "total;dur=x", "queue"])
def test_a_missing_timing_is_none(text):
    assert ServerTiming() == ServerTiming.parse(text)


def test_a_row_that_failed_raises_its_error():
    error = OverloadError("full", status=429)
    with pytest.raises(OverloadError):
        StepResult("a", error=error).unwrap()
    assert [1.0] == StepResult("a", np.ones(1), 1).unwrap().tolist()


def test_a_session_is_read_from_json():
    body = {"id": "a", "length": 3, "variant": None, "version": "phase-2", "bytes": 5}
    assert SessionInfo("a", 3, None, "phase-2", 5) == SessionInfo.of_json(body)
