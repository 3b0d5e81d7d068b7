"""Posts a message to a webhook."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping

import httpx

TIMEOUT_SECONDS = 5.0
"""For connecting and for each read. A whole delivery may take twice as long."""


class DeliveryError(Exception):
    """The webhook did not accept the message. The text holds no part of the URL."""


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
                status = await self._post(url, headers, content)
        except TimeoutError:
            raise DeliveryError(f"no answer in {2 * TIMEOUT_SECONDS:g} s") from None
        except (httpx.NetworkError, httpx.TimeoutException) as error:
            raise DeliveryError(str(error) or type(error).__name__) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # The text of these errors may quote the URL.
            raise DeliveryError(type(error).__name__) from None
        if not httpx.codes.is_success(status):
            raise DeliveryError(f"status {status}")

    async def _post(self, url: str, headers: Mapping[str, str], content: bytes) -> int:
        # Once, because it reads every root certificate.
        self._tls = self._tls or httpx.create_ssl_context()
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=self._tls) as client,
            # A stream, because the answer's body is not needed and may have any length.
            client.stream("POST", url, headers=dict(headers), content=content) as response,
        ):
            return response.status_code
