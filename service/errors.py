"""Errors that the service reports to callers.

An error has a stable `code` for programs, and a message for people that says what to
do. Only `api.errors` decides its HTTP status.
"""

from __future__ import annotations

QUOTED_CHARACTERS = 80
"""Characters of a caller's text that a message repeats."""


def quoted(value: object) -> str:
    """Return a caller's value for a message: cut before it is copied, without nested values."""
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str) and len(value) > QUOTED_CHARACTERS:
        return repr(f"{value[:QUOTED_CHARACTERS]}…")
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of more than 64 bits"
    return repr(value)[:QUOTED_CHARACTERS]


class NextvecError(Exception):
    """The base of all errors that the service reports to a caller.

    `variant` and `version` are those chosen for the request, or None before the choice.
    """

    code = "internal"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.variant: str | None = None
        self.version: str | None = None
        if code is not None:
            self.code = code


class Malformed(NextvecError):
    """The request cannot be parsed."""

    code = "malformed"


class Unauthorized(NextvecError):
    """The token is missing or unknown."""

    code = "unauthorized"


class Forbidden(NextvecError):
    """The token's role does not allow this."""

    code = "forbidden"


class NotFound(NextvecError):
    """The named resource does not exist."""

    code = "not_found"


class Conflict(NextvecError):
    """The present state does not allow this; `details` describes the state."""

    code = "conflict"

    def __init__(
        self, message: str, code: str | None = None, details: dict[str, object] | None = None
    ) -> None:
        super().__init__(message, code)
        self.details = details or {}


class Gone(NextvecError):
    """The session was evicted or has expired: send its context again."""

    code = "session_gone"


class PreconditionFailed(NextvecError):
    """`If-Match` names an old generation."""

    code = "precondition_failed"


class PreconditionRequired(NextvecError):
    """A change requires `If-Match`."""

    code = "precondition_required"


class TooLarge(NextvecError):
    """The body is larger than the limit."""

    code = "too_large"


class UnsupportedMediaType(NextvecError):
    """The media type or encoding of the body is not supported."""

    code = "unsupported_media_type"


class NotAcceptable(NextvecError):
    """No media type that the caller accepts can be sent."""

    code = "not_acceptable"


class Invalid(NextvecError):
    """The request can be parsed but is invalid: wrong width, no rows, NaN, too many rows."""

    code = "invalid"


class QueueFull(NextvecError):
    """The queue is full; `retry_after` is in seconds."""

    code = "queue_full"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CallerLimited(QueueFull):
    """The caller has used up a limit of its API key."""

    code = "caller_limited"


class TooManyFailures(QueueFull):
    """Too many log-ins fail at the same time."""

    code = "too_many_failures"


class Cancelled(NextvecError):
    """The caller disconnected."""

    code = "cancelled"


class NotReady(NextvecError):
    """The service is starting up or draining."""

    code = "not_ready"


class StoreUnavailable(NextvecError):
    """The shared store of sessions cannot be reached; `retry_after` is in seconds."""

    code = "session_store_unavailable"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreUnusable(NextvecError):
    """The shared store of sessions can be reached, but must not be used as it is."""

    code = "session_store_unusable"


class DeadlineExceeded(NextvecError):
    """The request was not answered before its deadline."""

    code = "deadline_exceeded"


class EngineFault(NextvecError):
    """The engine raised, or returned NaN or Inf: the fault of the version, not of the caller."""

    code = "engine_fault"


class VersionError(NextvecError):
    """A version on disk cannot be served: missing, damaged or of a different shape."""

    code = "version_unusable"


class AbortNotStored(NextvecError):
    """An abort is in effect, but a restart would give the canary its traffic back."""

    code = "abort_not_stored"
