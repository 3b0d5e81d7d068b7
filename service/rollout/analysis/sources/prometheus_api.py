"""The HTTP API of a Prometheus server, as far as the analysis needs it: one instant query."""

from __future__ import annotations

import asyncio
import ssl

import httpx

from service import http_clients
from service.errors import NextvecError
from service.observability import tracing
from service.settings import RolloutSettings
from service.settings.loader import ConfigurationError

MAX_BYTES = 256 * 1024 * 1024
"""A response has some 0.6 MB for each scraped target. A larger one is not ours."""

ERROR_BYTES = 500
"""How much of an error response is quoted."""


class EvidenceError(NextvecError):
    """The server's response is not evidence. The text says why and what to check."""

    code = "evidence"


class PrometheusApi:
    """A Prometheus server at `url`, which may have a user and a password.

    `token` is sent as a bearer token, and `tls` is used for https. `timeout_seconds` bounds
    connecting and each read; a whole response may take twice as long. Redirects are not followed.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        given = httpx.URL(url)
        self._auth = httpx.BasicAuth(given.username, given.password) if given.userinfo else None
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        # Shown in errors, the status, the audit log and webhooks.
        self._url = str(http_clients.without_credentials(given)).rstrip("/")
        self._timeout = timeout_seconds
        self._options = http_clients.client_options(given, tls or http_clients.tls_context())

    async def query(self, query: str) -> bytes:
        """The response to an instant query. Raises `EvidenceError`."""
        total = 2 * self._timeout
        try:
            # httpx bounds each read; a server that sends byte by byte could take any time.
            with tracing.child("GET /api/v1/query", tracing.CLIENT):
                async with asyncio.timeout(total):
                    return await self._fetch(query)
        except TimeoutError as error:
            raise EvidenceError(
                f"Prometheus at {self._url} did not finish its response in {total:g} s"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EvidenceError(
                f"Prometheus at {self._url} did not respond within {self._timeout:g} s "
                f"({error!r}); is it running, and is rollout.prometheus_url right?"
            ) from error

    async def _fetch(self, query: str) -> bytes:
        async with (
            httpx.AsyncClient(timeout=self._timeout, auth=self._auth, **self._options) as client,
            client.stream(
                "GET",
                f"{self._url}/api/v1/query",
                params={"query": query},
                # Uncompressed, so that the bound holds for what is held in memory.
                headers={
                    "Accept-Encoding": "identity",
                    **self._headers,
                    **tracing.outgoing_headers(),
                },
            ) as response,
        ):
            limit = MAX_BYTES if response.is_success else ERROR_BYTES
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > limit:
                    break
            if response.is_redirect:
                raise EvidenceError(
                    f"Prometheus at {self._url} redirects (status {response.status_code}); the "
                    "redirect is not followed: set rollout.prometheus_url to the final address"
                )
            if not response.is_success:
                text = body[:ERROR_BYTES].decode("utf-8", "replace")
                raise EvidenceError(
                    f"Prometheus at {self._url} returned status {response.status_code}: {text}"
                )
            if len(body) > limit:
                raise EvidenceError(
                    f"Prometheus at {self._url} returned more than {MAX_BYTES} bytes"
                )
            return bytes(body)


def prometheus_tls(settings: RolloutSettings) -> ssl.SSLContext:
    """The TLS files for the Prometheus server. Raises `ConfigurationError` that names them."""
    files = (
        settings.prometheus_ca,
        settings.prometheus_certificate,
        settings.prometheus_key,
    )
    try:
        return http_clients.tls_context(*files)
    except OSError as error:
        named = ", ".join(str(each) for each in files if each is not None)
        reason = getattr(error, "reason", None) or error.strerror
        raise ConfigurationError([f"rollout.prometheus_…: cannot use {named}: {reason}"]) from error
