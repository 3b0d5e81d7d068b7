"""Request headers that every prediction route reads in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from service.api.access.api_keys import LimitedCaller
from service.errors import Invalid, quoted
from service.types import Variant


def variant_override(headers: Mapping[str, str]) -> Variant | None:
    """Return the variant that `X-Variant` names, or None. Raises `Invalid`."""
    wanted = headers.get("x-variant")
    if wanted is None:
        return None
    try:
        return Variant(wanted)
    except ValueError as error:
        raise Invalid(f"X-Variant is {quoted(wanted)}; use stable or canary") from error


def caller_digest(caller: LimitedCaller | None, headers: Mapping[str, str]) -> bytes:
    """Return 16 bytes that identify the caller: its API key's holder, else its credentials.

    Cached contexts are shared only between callers with the same digest. Callers
    without credentials share one. Where API keys are off, the credentials are not
    verified here: a proxy in front of the service may do that.
    """
    if caller is not None:
        return caller.digest
    credentials = (headers.get(name, "") for name in ("authorization", "x-api-key"))
    return blake2b("\n".join(credentials).encode(), digest_size=16).digest()
