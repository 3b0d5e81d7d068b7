"""Each error has a status of gRPC, and its code and wait in the metadata."""

from __future__ import annotations

import grpc
import pytest

from service import errors
from service.api.errors import STATUS
from service.rpc.status import details, error_metadata, grpc_status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Malformed("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.Unauthorized("x"), grpc.StatusCode.UNAUTHENTICATED),
        (errors.NotFound("x"), grpc.StatusCode.NOT_FOUND),
        (errors.Gone("x"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.Invalid("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.QueueFull("x", 1.0), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.EngineFault("x"), grpc.StatusCode.INTERNAL),
        (errors.NotReady("x"), grpc.StatusCode.UNAVAILABLE),
        (errors.DeadlineExceeded("x"), grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_an_error_has_its_status(error, status):
    assert grpc_status(error) is status


def test_only_faults_of_the_service_are_internal():
    """An alert on INTERNAL must not fire for a caller's mistake."""
    for kind, http in STATUS.items():
        # Not made by their constructors, which differ.
        error = kind.__new__(kind)
        assert (grpc_status(error) is grpc.StatusCode.INTERNAL) == (http == 500), kind


def test_the_metadata_has_the_code_and_the_wait():
    assert error_metadata(errors.Gone("x", "session_gone")) == [("nextvec-code", "session_gone")]
    assert dict(error_metadata(errors.QueueFull("x", 2.3))) == {
        "nextvec-code": "queue_full",
        "retry-after": "3",
    }


def test_a_long_message_is_cut():
    assert len(details(errors.Invalid("x" * 10_000))) == 2001
