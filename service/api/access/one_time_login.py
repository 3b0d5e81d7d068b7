"""A link that opens the console once: its code is exchanged for a token.

The code travels in the fragment of an address, which a browser keeps to itself, and is worthless
after its first use. The token that it gives lasts as long as the process, and stands in no file.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from pydantic import SecretStr


class OneTimeLogin:
    """The code of this start of the service, until it is used. Without a code, none is right."""

    def __init__(self, code: SecretStr | None) -> None:
        self._digest = None if code is None else _digest(code.get_secret_value())

    def exchange(self, code: str) -> str | None:
        """Return a new token if `code` is right, and forget the code; else None."""
        if self._digest is None or not hmac.compare_digest(self._digest, _digest(code)):
            return None
        self._digest = None
        return secrets.token_urlsafe(32)


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
