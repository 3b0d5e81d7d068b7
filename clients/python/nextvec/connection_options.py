"""Where the service is, who calls, and how long an operation may take."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from nextvec.exchange import Budget, Call, RetryPolicy

DEFAULT_URL = "http://127.0.0.1:8080"
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class ConnectionOptions:
    """The options of a client. Times are in seconds.

    `timeout` bounds one request, `deadline` an operation with all its repeats. The secrets do not
    appear in `repr`.
    """

    url: httpx.URL
    api_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    deadline: float = 60.0
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    now: Callable[[], float] = field(default=time.monotonic, repr=False)
    draw: Callable[[], float] = field(default=random.random, repr=False)

    @classmethod
    def from_arguments(
        cls,
        url: str | None,
        api_key: str | None,
        token: str | None,
        *,
        timeout: float,
        deadline: float,
        max_retries: int,
        environ: Mapping[str, str] = os.environ,
    ) -> ConnectionOptions:
        """Complete what is None from the environment. Raises `ValueError`."""
        return cls(
            url=_parse_url(url or environ.get("NEXTVEC_URL") or DEFAULT_URL),
            api_key=_secret(api_key or environ.get("NEXTVEC_API_KEY"), "api_key"),
            token=_secret(token or environ.get("NEXTVEC_TOKEN"), "token"),
        ).changed(timeout=timeout, deadline=deadline, max_retries=max_retries)

    def changed(
        self,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        max_retries: int | None = None,
    ) -> ConnectionOptions:
        """Return a copy with some options changed. Raises `ValueError`."""
        changes: dict[str, Any] = {}
        for name, value in (("timeout", timeout), ("deadline", deadline)):
            if value is None:
                continue
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value!r}: give seconds above 0")
            changes[name] = float(value)
        if max_retries is not None:
            if not 0 <= max_retries <= 1000:
                raise ValueError(f"max_retries is {max_retries!r}: give 0 to 1000")
            changes["retries"] = replace(self.retries, max_retries=max_retries)
        return replace(self, **changes)

    def budget(self) -> Budget:
        """The budget of one operation that begins now."""
        return Budget(
            self.retries, self.timeout, self.now() + self.deadline, now=self.now, draw=self.draw
        )

    def request(self, call: Call) -> dict[str, Any]:
        """The arguments of httpx's `request` for `call`."""
        headers = dict(call.headers)
        if call.admin and self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        elif not call.admin and self.api_key is not None:
            headers["X-API-Key"] = self.api_key
        return {
            "method": call.method,
            "url": self.url.copy_with(path=self.url.path.rstrip("/") + call.path),
            "params": call.query or None,
            "headers": headers,
            "content": call.content,
            "timeout": httpx.Timeout(call.timeout, connect=min(call.timeout, CONNECT_SECONDS)),
            "follow_redirects": False,
        }

    def describe(self) -> str:
        """The options for a `repr`, without secrets."""
        secrets = {"api_key": self.api_key, "token": self.token}
        shown = [f"{name}=<set>" for name, value in secrets.items() if value is not None]
        parts = [f"url={str(self.url)!r}", *shown]
        parts += [f"timeout={self.timeout:g}", f"deadline={self.deadline:g}"]
        return ", ".join([*parts, f"max_retries={self.retries.max_retries}"])


def _parse_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as error:
        raise ValueError(f"url is not an address: {error}") from None
    if url.userinfo:
        raise ValueError("url must not have a user or a password: give api_key or token")
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise ValueError(f"url {text!r} is not an http(s) address without query and fragment")
    return url


def _secret(value: str | None, name: str) -> str | None:
    if value is None or not value.strip():
        return None
    value = value.strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        # The value stays out of the message.
        raise ValueError(f"{name} has characters that no header can contain")
    return value
