"""What is known of the request that the current task answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

RequestScope = dict[str, Any]
"""`request_id`, and once known `trace_id`, `caller` (the name of the holder of the key or token),
`variant`, `version` and `session` (its id); `trace`, `traceparent` and `exemplar` belong to
`tracing`.

It is the `state` of the ASGI scope, so that routes and log lines read the same values.
"""

_current: ContextVar[RequestScope | None] = ContextVar("nextvec_request", default=None)


def enter(scope: RequestScope) -> None:
    """Make `scope` the current one of this task and of the tasks and threads it starts."""
    _current.set(scope)


@contextmanager
def entered(scope: RequestScope) -> Iterator[None]:
    """Make `scope` the current one for the block."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> RequestScope | None:
    """Return the scope of the current request; None outside of requests."""
    return _current.get()


def separate() -> None:
    """Give the current task a copy of the scope, because it answers one part of the request."""
    scope = _current.get()
    if scope is not None:
        _current.set(dict(scope))


def note(name: str, value: object) -> None:
    """Store a value in the current scope, if there is one."""
    scope = _current.get()
    if scope is not None:
        scope[name] = value


def session_hash(session_id: str) -> str:
    """Return 12 hexadecimal digits that stand for a session in logs and traces.

    Session ids come from callers and may name people. The hash of an id is the same in
    every process, so that the lines of a session can be found.
    """
    return hashlib.sha256(session_id.encode("utf-8", "replace")).hexdigest()[:12]


def logged_values(scope: RequestScope) -> dict[str, object]:
    """Return what log lines show of a request; its session only as a hash."""
    found: dict[str, object] = {}
    for name in ("request_id", "trace_id", "caller", "variant", "version"):
        value = scope.get(name)
        if value is not None:
            found[name] = value
    if (session := scope.get("session")) is not None:
        found["session"] = session_hash(session)
    return found
