"""The binary frame is the one that the service reads and writes."""

from __future__ import annotations

import numpy as np
import pytest

from nextvec import frames
from nextvec.errors import ResponseError
from service.api.codecs import steps
from service.errors import Conflict, Gone
from service.prediction.request import Prediction
from service.rollout.routing.traffic_split import Route
from service.types import Variant

VECTORS = np.arange(6, dtype=np.float32).reshape(2, 3) + 1


def test_the_service_reads_what_the_client_writes():
    found = steps.parse_frame(frames.encode(["a", "b" * 128], [0, 7], VECTORS), 3, 10)
    assert [("a", 0, [[1, 2, 3]]), ("b" * 128, 7, [[4, 5, 6]])] == [
        (step.session, step.position, step.vectors.tolist()) for step in found
    ]


def test_the_client_reads_what_the_service_writes():
    results = [
        Prediction(VECTORS[0], Route(Variant.STABLE, "phase-2", assigned=True), 0.0, 0.0, 5),
        Conflict("stale", code="position_mismatch", details={"position": 4}),
        Gone("evicted"),
    ]
    content, _ = steps.render([None] * 3, results, 3, binary=True)
    rows = frames.decode(content, 3, 3)
    assert [(200, 5), (409, 4), (410, -1)] == [(row.status, row.length) for row in rows]
    assert [[1, 2, 3], [0, 0, 0]] == [row.vector.tolist() for row in rows[:2]]


@pytest.mark.parametrize(
    "content", [b"", b"NVR1", b"NVS1\x01\0\0\0" + bytes(28), b"NVR1" + bytes(32)]
)
def test_other_bytes_are_refused(content):
    with pytest.raises(ResponseError):
        frames.decode(content, 1, 3)
