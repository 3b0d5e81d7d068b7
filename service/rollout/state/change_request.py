"""How a person requests a change. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from service.errors import Invalid


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A request under an idempotency key, which belongs to the `actor`.

    `fingerprint` is a digest of the whole request: a repeat has the same one.
    """

    actor: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class IdempotentResponse:
    """The stored response to a request."""

    request: ChangeRequest
    response: dict[str, object]

    def replay(self, request: ChangeRequest) -> dict[str, object]:
        """The response for a repeat. Raises `Invalid` for another request under the same key."""
        if request.fingerprint != self.request.fingerprint:
            raise Invalid(
                f"Idempotency-Key {request.key!r} belongs to another request; use a new key",
                "idempotency_key_reused",
            )
        return self.response


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """How a change is carried out.

    `dry_run`: only report what would happen. `request`: store the response under its
    idempotency key, and return the stored response for a repeat.
    """

    dry_run: bool = False
    request: ChangeRequest | None = None


DEFAULT_OPTIONS = ChangeOptions()
