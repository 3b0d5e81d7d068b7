"""The access log: a sample of the requests, and the errors."""

from __future__ import annotations

import logging

import pytest

from service.observability.access_log import ERRORS_PER_SECOND, AccessLog
from tests.support.fakes import FakeClock

SCOPE = {"request_id": "r", "queue": 0.001, "inference": 0.002, "session": "alice"}


@pytest.fixture
def written(caplog):
    """The fields of the lines so far."""
    caplog.set_level(logging.INFO)

    def read():
        return [record.nextvec_fields for record in caplog.records]

    return read


def test_a_share_of_zero_writes_nothing(written):
    AccessLog(0.0, FakeClock().monotonic).write(SCOPE, "POST", "/v1/predict", 500, 0.1)

    assert [] == written()


def test_requests_are_sampled_and_errors_are_not(written):
    log = AccessLog(0.25, FakeClock().monotonic, iter([0.1, 0.3, 0.24]).__next__)
    for _ in range(3):
        log.write(SCOPE, "POST", "/v1/predict", 200, 0.0123)
    log.write(SCOPE, "POST", "/v1/predict", 422, 0.001)

    assert [200, 200, 422] == [line["status"] for line in written()]
    assert (
        written()[0].items()
        >= {
            "request_id": "r",
            "method": "POST",
            "path": "/v1/predict",
            "duration_ms": 12.3,
            "queue_ms": 1.0,
            "inference_ms": 2.0,
        }.items()
    )


def test_a_flood_of_errors_does_not_fill_the_disk(written):
    """The next line says how many were left out."""
    clock = FakeClock()
    log = AccessLog(1.0, clock.monotonic)
    for _ in range(1000):
        log.write(SCOPE, "POST", "/v1/predict", 429, 0.001)
    assert ERRORS_PER_SECOND == len(written())
    clock.advance(1)
    log.write(SCOPE, "POST", "/v1/predict", 429, 0.001)
    assert 1000 - ERRORS_PER_SECOND == written()[-1]["suppressed"]


def test_a_session_id_is_not_written(written):
    AccessLog(1.0, FakeClock().monotonic).write(SCOPE, "POST", "/v1/x", 200, 0.1)

    assert "alice" not in str(written())
