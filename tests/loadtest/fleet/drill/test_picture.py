"""The plot of a drill can be drawn, also of a run in which nothing happened."""

from __future__ import annotations

import pytest

from loadtest.fleet.drill.faults import Fault, FaultKind
from loadtest.fleet.drill.picture import draw_drill
from loadtest.fleet.drill.record import (
    AppendTiming,
    DrillRecord,
    FailedRequest,
    FaultSpan,
    WeightSample,
)

pytestmark = pytest.mark.slow


def full():
    record = DrillRecord(lambda: 20.0)
    record.appends += [AppendTiming(at / 10, 0.001 * at, 0.001, at % 9 == 0) for at in range(200)]
    record.failures.append(FailedRequest(3.0, 503, "", begun=True))
    record.spans += [
        FaultSpan(Fault(kind, 0.5, 0.5), 2.0 * at, 2.0 * at + 1)
        for at, kind in enumerate(FaultKind)
    ]
    record.weights += [
        WeightSample(at / 2, replica, None if at == 9 else 5.0 * at)
        for at in range(20)
        for replica in range(4)
    ]
    return record


@pytest.mark.parametrize("record", [full(), DrillRecord(lambda: 0.0)], ids=["full", "empty"])
def test_a_picture_is_written(record, tmp_path):
    path = tmp_path / "new" / "drill.png"
    draw_drill(record, path)
    assert path.read_bytes().startswith(b"\x89PNG")
