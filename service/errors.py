"""What can go wrong, in the service's own words.

An error carries a stable `code` for programs and a message for people that
says what to do. Which HTTP status it becomes is decided in `api.errors` alone.
"""

from __future__ import annotations


class NextvecError(Exception):
    """The base of all errors the service reports to a caller.

    `variant` and `version` are those that were to answer, once that is known.
    """

    code = "internal"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.variant: str | None = None
        self.version: str | None = None
        if code is not None:
            self.code = code


class Malformed(NextvecError):
    """The bytes do not parse."""

    code = "malformed"


class Unauthorized(NextvecError):
    """No token, or one nobody issued."""

    code = "unauthorized"


class Forbidden(NextvecError):
    """A known token whose role does not allow this."""

    code = "forbidden"


class NotFound(NextvecError):
    """No such thing."""

    code = "not_found"


class Conflict(NextvecError):
    """Not possible in the present state; `details` says which state that is."""

    code = "conflict"

    def __init__(
        self, message: str, code: str | None = None, details: dict[str, object] | None = None
    ) -> None:
        super().__init__(message, code)
        self.details = details or {}


class Gone(NextvecError):
    """It existed, and was evicted or has expired: prime it again."""

    code = "session_gone"


class PreconditionFailed(NextvecError):
    """`If-Match` names a generation that has passed."""

    code = "precondition_failed"


class PreconditionRequired(NextvecError):
    """A change needs `If-Match`."""

    code = "precondition_required"


class TooLarge(NextvecError):
    """The body is over the limit."""

    code = "too_large"


class UnsupportedMediaType(NextvecError):
    """Neither JSON nor raw float32."""

    code = "unsupported_media_type"


class Invalid(NextvecError):
    """It parses, and means nothing: wrong width, zero rows, NaN, too many rows."""

    code = "invalid"


class QueueFull(NextvecError):
    """The queue is at its bound; `retry_after` is in seconds."""

    code = "queue_full"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Cancelled(NextvecError):
    """The caller has gone."""

    code = "cancelled"


class NotReady(NextvecError):
    """Starting up, or draining."""

    code = "not_ready"


class DeadlineExceeded(NextvecError):
    """Not answered in time."""

    code = "deadline_exceeded"


class EngineFault(NextvecError):
    """The engine raised, or answered NaN or Inf: the version's fault, not the caller's."""

    code = "engine_fault"


class VersionError(NextvecError):
    """A version on disk cannot be served: missing, damaged or of another shape."""

    code = "version_unusable"
