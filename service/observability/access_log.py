"""The access log: a line for a share of the requests, and for errors."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from service.observability.log_format import fields
from service.observability.request_scope import RequestScope, logged_values

logger = logging.getLogger(__name__)

ERRORS_PER_SECOND = 100
"""Lines of error responses. Without a limit, whoever causes errors could fill the disk."""

MAX_PATH = 200
"""Characters of a path that are logged."""


class AccessLog:
    """Writes a line for `share` of the requests, 0..1. With 0 it writes nothing.

    `monotonic` returns seconds; `draw` returns a random number in [0, 1).
    """

    def __init__(
        self,
        share: float,
        monotonic: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.enabled = share > 0
        self._share = share
        self._monotonic = monotonic
        self._draw = draw
        self._tokens = float(ERRORS_PER_SECOND)
        self._refilled = monotonic()
        self._suppressed = 0

    def write(
        self,
        scope: RequestScope,
        method: str,
        path: str,
        status: int,
        seconds: float,
    ) -> None:
        """Log one request that took `seconds`, if it is an error or in the sample.

        `path` is the route's template if a route matched: it holds no ids. The values of
        `scope` are on the line, `queue` and `inference` in milliseconds.
        """
        if not self.enabled:
            return
        is_error = status >= 400
        if is_error and not self._take_token():
            self._suppressed += 1
            return
        if not is_error and self._draw() >= self._share:
            return
        found = {
            **logged_values(scope),
            "method": method,
            "path": path[:MAX_PATH],
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
        }
        for name in ("queue", "inference"):
            if name in scope:
                found[f"{name}_ms"] = round(scope[name] * 1000, 3)
        if is_error and self._suppressed:
            found["suppressed"], self._suppressed = self._suppressed, 0
        logger.info("request", extra=fields(**found))

    def _take_token(self) -> bool:
        now = self._monotonic()
        more = (now - self._refilled) * ERRORS_PER_SECOND
        self._tokens = min(ERRORS_PER_SECOND, self._tokens + more)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
