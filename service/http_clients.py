"""What every HTTP client of this project has in common.

None follows a redirect, which would send a token or a change to another address. The proxies of
the environment (`HTTPS_PROXY`, `NO_PROXY`) are used for https to another machine only: there a
proxy carries a tunnel and reads nothing. Over http it would read the token, and requests to this
machine would not reach it.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

import httpx


def client_options(url: httpx.URL, tls: ssl.SSLContext) -> dict[str, Any]:
    """The options of an httpx client for requests to `url`."""
    return {
        "verify": tls,
        "follow_redirects": False,
        "trust_env": url.scheme == "https" and not is_loopback(url.host),
    }


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(
    ca_file: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Trust the authorities of `ca_file`, or by default those of `SSL_CERT_FILE` or of httpx.

    `certificate` and `key` are what the client logs in with. Raises `OSError` for a file that
    cannot be read or has no certificate.
    """
    if ca_file is None:
        context = httpx.create_ssl_context()
    else:
        context = ssl.create_default_context(cafile=str(ca_file))
    if certificate is not None:
        context.load_cert_chain(certificate, key, password=lambda: "")
    return context


def without_credentials(url: httpx.URL) -> httpx.URL:
    """The address without its user and password, to be shown."""
    return url.copy_with(userinfo=b"")
