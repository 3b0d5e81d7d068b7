"""Which errors of a connection may pass with time."""

from __future__ import annotations

import ssl

import httpx
import pytest
from nextvec.errors import RequestTimeoutError
from nextvec.exchange import Call
from nextvec.transport import http_options, to_failure

CALL = Call("GET", "/v2", timeout=3.0)


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ReadError("reset"), False),
        (httpx.RemoteProtocolError("disconnected"), False),
        (httpx.ReadTimeout("slow"), False),
        (TimeoutError(), False),
        (httpx.ProxyError("no"), False),
        (httpx.UnsupportedProtocol("no"), True),
        (httpx.LocalProtocolError("a header"), True),
    ],
)
def test_only_a_connection_can_come_back(error, permanent):
    failure = to_failure(CALL, error)
    assert permanent is failure.permanent
    assert "GET /v2" in str(failure.error)
    assert error is failure.error.__cause__


def test_a_certificate_that_is_not_trusted_stays_so():
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    assert to_failure(CALL, error).permanent


def test_a_timeout_says_how_long_it_was():
    failure = to_failure(CALL, httpx.ReadTimeout(""))
    assert RequestTimeoutError is type(failure.error)
    assert "within 3 s" in str(failure.error)


def test_a_file_without_authorities_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(OSError, match=r"(?i)pem|certificate|ssl"):
        http_options(tmp_path / "ca.pem", 10)
