"""What both clients share of httpx: its options, its answers and its errors."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx

from nextvec.errors import RequestTimeoutError, TransportError
from nextvec.exchange import Call, Failure, Reply
from nextvec.version import __version__


def http_options(ca: str | Path | None, max_connections: int) -> dict[str, Any]:
    """The options of an httpx client. Raises `OSError` for an unreadable `ca`.

    Idle connections are kept; one that a restarted service has closed is opened again. Proxies,
    `NO_PROXY` and `SSL_CERT_FILE` come from the environment, as always with httpx.
    """
    options: dict[str, Any] = {
        "limits": httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections
        ),
        "headers": {"User-Agent": f"nextvec-client/{__version__}"},
    }
    if ca is not None:
        options["verify"] = ssl.create_default_context(cafile=str(ca))
    return options


def to_reply(response: httpx.Response) -> Reply:
    """Return what an operation needs of an answer."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content)


def to_failure(call: Call, error: Exception) -> Failure:
    """Return the failure of `call`. Only errors of the connection may pass with time."""
    text = f"{call.method} {call.path}: {str(error) or type(error).__name__}"
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        failure = RequestTimeoutError(f"{text}: no answer within {call.timeout:.3g} s")
        failure.__cause__ = error
        return Failure(failure)
    transport = TransportError(text)
    transport.__cause__ = error
    passing = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError | httpx.ProxyError)
    return Failure(transport, permanent=not passing or _is_certificate_refused(error))


def _is_certificate_refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
