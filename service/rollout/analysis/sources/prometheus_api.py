"""The HTTP API of a Prometheus server, as far as the analysis needs it: one instant query."""

from __future__ import annotations

import asyncio
import base64
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
        self._secrets = _secret_texts(given, token)
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

    def _without_secrets(self, body: bytes) -> bytes:
        """A server may repeat the request and its headers, in an error or anywhere else."""
        for secret in self._secrets:
            body = body.replace(secret, b"(hidden)")
        return body

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
            # Of an error, more than is quoted: a secret must not be cut before it is found.
            limit = MAX_BYTES if response.is_success else 10 * ERROR_BYTES
            received, too_large = bytearray(), False
            async for piece in response.aiter_raw():
                received += piece
                too_large = len(received) > limit
                if too_large:
                    break
            body = self._without_secrets(bytes(received))
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
            if too_large:
                raise EvidenceError(
                    f"Prometheus at {self._url} returned more than {MAX_BYTES} bytes"
                )
            return body


def _secret_texts(url: httpx.URL, token: str | None) -> list[bytes]:
    """What a response must not repeat: the secrets, and the header that carries them."""
    userinfo = f"{url.username}:{url.password}".encode()
    found = [url.password, token or ""]
    if url.userinfo:
        found += [base64.b64encode(userinfo).decode(), url.userinfo.decode()]
    # The longest first, because one may be a part of another.
    return [text.encode() for text in sorted(filter(None, found), key=len, reverse=True)]


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
