"""Posts a message to a webhook."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping

import httpx

from service import http_clients

TIMEOUT_SECONDS = 5.0
"""For connecting and for each read. A whole delivery may take twice as long."""


class DeliveryError(Exception):
    """The webhook did not accept the message. The text holds no part of the URL.

    `retry_after` is the response's header of that name.
    """

    def __init__(self, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WebhookClient:
    """Posts over HTTP(S). Redirects are not followed."""

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None
        # At INFO, httpx logs the URL of every request. A webhook's URL is a secret.
        logging.getLogger("httpx").setLevel(logging.WARNING)

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> None:
        """Raises `DeliveryError` for any answer except 2xx, redirects included."""
        try:
            async with asyncio.timeout(2 * TIMEOUT_SECONDS):
                response = await self._post(url, headers, content)
        except TimeoutError:
            raise DeliveryError(f"no answer in {2 * TIMEOUT_SECONDS:g} s") from None
        except (httpx.NetworkError, httpx.TimeoutException) as error:
            raise DeliveryError(str(error) or type(error).__name__) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # The text of these errors may quote the URL.
            raise DeliveryError(type(error).__name__) from None
        if not response.is_success:
            raise DeliveryError(
                f"status {response.status_code}", response.headers.get("retry-after")
            )

    async def _post(self, url: str, headers: Mapping[str, str], content: bytes) -> httpx.Response:
        # Once, because it reads every root certificate.
        self._tls = self._tls or http_clients.tls_context()
        options = http_clients.client_options(httpx.URL(url), self._tls)
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, **options) as client,
            # A stream, because the answer's body is not needed and may have any length.
            client.stream("POST", url, headers=dict(headers), content=content) as response,
        ):
            return response
