"""A client of the admin API for `nextvec rollout`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx

from service.http_clients import client_options, tls_context
from service.observability.log_format import escape

TIMEOUT_SECONDS = 30.0

_UNREACHABLE = frozenset({429, 502, 503, 504})
"""Statuses of a service that restarts, drains or is overloaded, and of a proxy before it."""


class UnreachableError(SystemExit):
    """The service does not answer now; a later request may succeed."""


class RefusedError(SystemExit):
    """The service refused the request with this HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AdminClient:
    """The routes under `/admin/v1/rollout` of one service.

    Every method ends the command with a one-line message, as `SystemExit`, when the
    service refuses the request or does not answer; it is an `UnreachableError` if a later
    request may succeed. Redirects are not followed: they would resend the token and the
    change to another address.
    """

    def __init__(self, url: str, token: str, ca_file: Path | None = None) -> None:
        """`ca_file` has the authorities to trust for https, instead of the usual ones."""
        address = _parse_address(url)
        self._base = str(address).rstrip("/") + "/admin/v1/rollout"
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._options = client_options(address, tls_context(ca_file))
        except OSError as error:
            raise SystemExit(f"nextvec rollout: --ca {ca_file}: {error}") from error

    def status(self) -> dict[str, Any]:
        """Return the rollout's status."""
        answer: dict[str, Any] = self._request("GET", "")
        if "outlook" not in answer:
            raise SystemExit(
                f"nextvec rollout: the service at {self._base} is of an earlier version, whose "
                "status this command cannot show: use the command of that version"
            )
        return answer

    def history(self, limit: int) -> list[dict[str, Any]]:
        """Return the last `limit` entries of the audit log, newest first."""
        answer: list[dict[str, Any]] = self._request("GET", "/history", {"limit": str(limit)})
        return answer

    def change(
        self,
        path: str,
        body: object,
        *,
        generation: int | None = None,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        force: bool = False,
    ) -> dict[str, Any]:
        """Make a change, or preview it, and return the status after it.

        With `generation`, the service refuses the change if the rollout has changed since.
        """
        query = ({"force": "true"} if force else {}) | ({"dryRun": "All"} if dry_run else {})
        headers = {} if generation is None else {"If-Match": f'"{generation}"'}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        answer: dict[str, Any] = self._request("POST", path, query, headers, body)
        return answer

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: object = None,
    ) -> Any:
        try:
            with httpx.Client(timeout=TIMEOUT_SECONDS, **self._options) as client:
                response = client.request(
                    method,
                    self._base + path,
                    params=query,
                    headers={**self._authorization, **(headers or {})},
                    json=body,
                )
                answer = response.json() if response.is_success else None
        except (httpx.NetworkError, httpx.TimeoutException) as error:
            raise UnreachableError(
                f"nextvec rollout: no answer from {self._base}: {error}; is the service running?"
            ) from error
        except httpx.RemoteProtocolError as error:
            # The service may have ended in the middle of a response.
            raise UnreachableError(self._describe_failure(repr(error))) from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # Not HTTP, not JSON, or a URL or token that no request can contain.
            raise SystemExit(self._describe_failure(repr(error))) from error
        if 300 <= response.status_code < 400:
            raise SystemExit(f"nextvec rollout: {self._describe_redirect(response)}")
        if not response.is_success:
            message = f"nextvec rollout: {_refusal(response)}"
            if response.status_code in _UNREACHABLE:
                raise UnreachableError(message)
            raise RefusedError(message, response.status_code)
        expected = list if path == "/history" else dict
        if not isinstance(answer, expected) or (expected is dict and "phase" not in answer):
            raise SystemExit(self._describe_failure("an unexpected response"))
        return answer

    def _describe_redirect(self, response: httpx.Response) -> str:
        target = escape(response.headers.get("location", "nowhere"))
        return (
            f"{self._base} redirects to {_hide_credentials(target)} (HTTP {response.status_code}). "
            "The redirect is not followed, because it would send the token there, and nothing was "
            "changed: pass the final address as --url"
        )

    def _describe_failure(self, problem: str) -> str:
        return (
            f"nextvec rollout: {escape(problem)} at {self._base}: "
            "check --url and the token; is this a nextvec service?"
        )


def _parse_address(url: str) -> httpx.URL:
    """The address of the service. Ends the command for one that cannot be used."""
    shown = _hide_credentials(url)
    try:
        address = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise SystemExit(f"nextvec rollout: --url {shown!r} is not an address: {error}") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise SystemExit(f"nextvec rollout: --url {shown!r} is not an http(s) address")
    if address.userinfo:
        raise SystemExit(
            "nextvec rollout: --url must not have a user or a password; pass the token with "
            "--token or NEXTVEC_TOKEN"
        )
    if address.query or address.fragment:
        raise SystemExit(f"nextvec rollout: --url {shown!r} must not have a query or a fragment")
    return address


def _hide_credentials(url: str) -> str:
    return re.sub(r"//[^/]*@", "//…@", url)


def _refusal(response: httpx.Response) -> str:
    try:
        message = escape(str(response.json()["error"]))
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
    if response.status_code in {401, 403}:
        message += "; pass --token or set NEXTVEC_TOKEN"
    return message
