"""Where a server is, and how to log in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RedisAddress:
    """A server's host and port, or its socket's path, and what a log-in needs.

    `shown` is the address for messages: without user and password.
    """

    shown: str
    host: str = ""
    port: int = 6379
    path: str | None = None
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
