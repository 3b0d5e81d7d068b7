"""A client of the admin API for `nextvec rollout`."""

from __future__ import annotations

from typing import Any

import httpx

TIMEOUT_SECONDS = 30.0


class AdminClient:
    """The routes under `/admin/v1/rollout` of one service.

    Every method ends the command with a one-line message, as `SystemExit`, when the
    service refuses the request or does not answer. Redirects are not followed: they
    would resend the token and the change to another address.
    """

    def __init__(self, url: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise SystemExit(f"nextvec rollout: --url {url!r} is not an http(s) address")
        self._base = url.rstrip("/") + "/admin/v1/rollout"
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}

    def status(self) -> dict[str, Any]:
        """Return the rollout's status."""
        answer: dict[str, Any] = self._request("GET", "")
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
            response = httpx.request(
                method,
                self._base + path,
                params=query,
                headers={**self._authorization, **(headers or {})},
                json=body,
                timeout=TIMEOUT_SECONDS,
                follow_redirects=False,
            )
            answer = response.json() if response.is_success else None
        except (httpx.NetworkError, httpx.TimeoutException) as error:
            raise SystemExit(
                f"nextvec rollout: no answer from {self._base}: {error}; is the service running?"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # Not HTTP, not JSON, or a URL or token that no request can contain.
            raise SystemExit(self._describe_failure(repr(error))) from error
        if not response.is_success:
            raise SystemExit(f"nextvec rollout: {_refusal(response)}")
        expected = list if path == "/history" else dict
        if not isinstance(answer, expected) or (expected is dict and "phase" not in answer):
            raise SystemExit(self._describe_failure("an unexpected response"))
        return answer

    def _describe_failure(self, problem: str) -> str:
        return (
            f"nextvec rollout: {problem} at {self._base}: "
            "check --url and the token; is this a nextvec service?"
        )


def _refusal(response: httpx.Response) -> str:
    try:
        message = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
    if response.status_code in {401, 403}:
        message += "; pass --token or set NEXTVEC_TOKEN"
    return message
