"""An error that crosses the processes is answered as if there were one."""

from __future__ import annotations

import pytest

from service import errors
from service.api.errors import render_error
from service.prediction.deadline import CallerDeadlineExceeded
from service.workers.failures import EngineBugError, decode_failure, encode_failure
from service.workers.frames import Frame, FrameDecoder, FrameError, FrameKind


def sent(error):
    (frame,) = FrameDecoder().feed(encode_failure(3, error))
    assert frame.number == 3
    return decode_failure(frame)


def named(error, variant, version):
    error.variant, error.version = variant, version
    return error


@pytest.mark.parametrize(
    "error",
    [
        errors.Invalid("vector 0 has a NaN or an Inf"),
        errors.Invalid("a lone \ud800"),
        errors.NotFound("there is no session 'a'", code="session_not_found"),
        errors.Conflict("no", code="position_mismatch", details={"position": 7}),
        errors.Conflict("no"),
        errors.Gone("gone"),
        errors.QueueFull("full", 2.5),
        errors.CallerLimited("a has used up its vectors", 4.0),
        named(errors.EngineFault("NaN"), "canary", "phase-3"),
        CallerDeadlineExceeded("not answered within 1 s"),
        errors.NotReady("unloaded"),
    ],
    ids=repr,
)
def test_the_response_is_the_same(error):
    assert render_error(error, {"request_id": "r"}) == render_error(
        sent(error), {"request_id": "r"}
    )


def test_the_version_that_served_is_named():
    state = {"request_id": "r"}
    render_error(sent(named(errors.EngineFault("NaN"), "canary", "phase-3")), state)
    assert {"request_id": "r", "variant": "canary", "version": "phase-3"} == state


def test_an_unexpected_exception_keeps_its_message_to_itself():
    error = sent(RuntimeError("secret"))
    assert isinstance(error, EngineBugError)
    assert "secret" not in str(error)


def test_no_failure_is_an_error():
    with pytest.raises(FrameError):
        decode_failure(Frame(FrameKind.FAILURE, 0, 1, memoryview(b"{")))
