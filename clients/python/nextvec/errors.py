"""Errors that the client raises, one class for each kind of answer.

`except nextvec.Error` catches them all. A class is chosen by the `code` of the answer, or else by
its status; both are fixed by the contract of the service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

_EXCERPT = 200
"""Characters of an answer that is not the service's own, as a gateway's page."""


class Error(Exception):
    """The base of all errors of this package."""


class TransportError(Error):
    """No answer came: no connection, or it broke. The service may have done the work."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No answer came in time."""


class ResponseError(Error):
    """The answer is none of nextvec's: is the address that of a nextvec service?"""


class WaitTimeoutError(Error, TimeoutError):
    """The rollout did not end in time; `status` is the last one that was seen, or None."""

    def __init__(self, text: str, status: Any = None) -> None:
        super().__init__(text)
        self.status = status


class StatusError(Error):
    """The service refused a request.

    `text` says what is wrong and what to do. `code` is for programs. `request_id` finds the
    request in the service's log; "" if the answer has none. `retry_after` is in seconds, or None.
    `details` are the other fields of the answer.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int,
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.details: Mapping[str, Any] = details or {}

    def __str__(self) -> str:
        request = f", request {self.request_id}" if self.request_id else ""
        return f"{self.text} (HTTP {self.status} {self.code}{request})"


class MalformedRequestError(StatusError):
    """400: the bytes do not parse."""


class AuthenticationError(StatusError):
    """401: the API key or the token is missing or unknown."""


class PermissionDeniedError(StatusError):
    """403: the token's role is too low."""


class NotFoundError(StatusError):
    """404: no such version, session or prediction."""


class ConflictError(StatusError):
    """409: the present state does not allow it."""


class PositionConflictError(ConflictError):
    """The session has another length than the position that was sent: see `position`."""

    @property
    def position(self) -> int:
        """The session's true length on the server."""
        return _whole(self.details.get("position"))


class IllegalVerbError(ConflictError):
    """The rollout does not allow this verb now; `legal` are those it allows."""

    @property
    def legal(self) -> tuple[str, ...]:
        """The verbs that are allowed now."""
        return tuple(str(verb) for verb in self.details.get("legal") or ())


class GateRefusalError(ConflictError):
    """The canary misses criteria of the plan's gate: see `missed`."""

    @property
    def missed(self) -> tuple[Mapping[str, Any], ...]:
        """The criteria that the canary misses, each with its figures."""
        return tuple(self.details.get("missed") or ())


class GoneError(StatusError):
    """410: the session was evicted or has expired, or the prediction is no longer kept."""


class StaleGenerationError(StatusError):
    """412: the rollout has changed since the status that the change was based on."""


class RequestTooLargeError(StatusError):
    """413: the body is larger than the service takes."""


class InvalidRequestError(StatusError):
    """422: wrong width, no rows, NaN, a value out of bounds, an unknown field, an invalid plan."""


class OverloadError(StatusError):
    """429: the service has too much to do, or this caller has reached a limit of its key."""


class CallerLimitError(OverloadError):
    """This caller has reached a limit of its API key."""


class ServiceError(StatusError):
    """500 and other 5xx: the service failed."""


class UnavailableError(ServiceError):
    """502 or 503: the service starts, drains or is not there."""


class ServiceDeadlineError(ServiceError):
    """504: the service did not answer before its deadline."""


_BY_CODE: Mapping[str, type[StatusError]] = {
    "position_mismatch": PositionConflictError,
    "gate_missed": GateRefusalError,
    "caller_limited": CallerLimitError,
}

_BY_STATUS: Mapping[int, type[StatusError]] = {
    400: MalformedRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    412: StaleGenerationError,
    413: RequestTooLargeError,
    422: InvalidRequestError,
    429: OverloadError,
    502: UnavailableError,
    503: UnavailableError,
    504: ServiceDeadlineError,
}

_CODES: Mapping[int, str] = {
    400: "malformed",
    404: "session_not_found",
    409: "position_mismatch",
    410: "session_gone",
    422: "invalid",
    429: "queue_full",
    500: "engine_fault",
    503: "not_ready",
    504: "deadline_exceeded",
}
"""The codes of rows of a binary frame, which has none."""


def of_answer(status: int, headers: Mapping[str, str], content: bytes) -> StatusError:
    """Return the error for an answer that is not 2xx. `headers` have names in lower case."""
    request_id = headers.get("x-request-id", "")
    retry_after = seconds_to_wait(headers)
    body = _json_object(content)
    if body is None:
        if 300 <= status < 400:
            text = (
                f"the address redirects to {headers.get('location', 'nowhere')!r}; a redirect is "
                "not followed, because it would send the key there: use the final address"
            )
        else:
            excerpt = content[:_EXCERPT].decode("utf-8", "replace").strip()
            text = f"the answer is not one of nextvec: {excerpt!r}"
        kind = _kind(status, "", {})
        return kind(text, status=status, code=f"http_{status}", retry_after=retry_after)
    code = str(body.pop("code"))
    text = str(body.pop("error"))
    request_id = str(body.pop("request_id", "") or request_id)
    return _kind(status, code, body)(
        text,
        status=status,
        code=code,
        request_id=request_id,
        retry_after=retry_after,
        details=body,
    )


def of_row(session: str, status: int, length: int) -> StatusError:
    """Return the error of one row of a binary frame: it has a status and, after 409, a length."""
    code = _CODES.get(status, f"http_{status}")
    details = {"position": length} if status == 409 else {}
    text = f"the step of session {session!r} failed"
    if status == 409:
        text = f"the next position of session {session!r} is {length}"
    return _kind(status, code, details)(text, status=status, code=code, details=details)


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return `Retry-After` in seconds; a date counts from the answer's own `Date`."""
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit() and len(given) <= 9:
        return float(given)
    try:
        until, now = (parsedate_to_datetime(text) for text in (given, headers.get("date", "")))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _kind(status: int, code: str, details: Mapping[str, Any]) -> type[StatusError]:
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status == 409 and "legal" in details:
        return IllegalVerbError
    fallback = ServiceError if status >= 500 else StatusError
    return _BY_STATUS.get(status, fallback)


def _json_object(content: bytes) -> dict[str, Any] | None:
    """Return the error body of the contract, or None for anything else."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if isinstance(parsed, dict) and {"error", "code"} <= parsed.keys():
        return parsed
    return None


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
