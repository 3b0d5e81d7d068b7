"""Types of settings' values: secrets, durations and sizes."""

from __future__ import annotations

import base64
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

MIN_TOKEN_LENGTH = 16
"""Characters of the shortest token or key: `openssl rand -hex 16` makes 32."""

_MAX_TOKEN_LENGTH = 4096


class FrozenModel(BaseModel):
    """A group of settings. Unknown names are refused, and no error shows a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


Seconds = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]
"""A duration above 0, at most some four months."""

ByteCount = Annotated[int, Field(ge=0, le=2**50)]


def _sendable(secret: SecretStr) -> SecretStr:
    if re.fullmatch(r"[\x21-\x7e]+", secret.get_secret_value()) is None:
        raise ValueError("must be visible ASCII characters without blanks or line ends")
    return secret


Credential = Annotated[SecretStr, AfterValidator(_sendable)]
"""A token that another service has made."""


def _valid_token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.strip():
        # A template may pass an unset variable on as "": that must not enable a role.
        raise ValueError("must not be blank: leave it out to disable what it allows")
    if re.fullmatch(r"[\x21-\x7e]+", text) is None:
        raise ValueError(
            "must be visible ASCII characters without blanks or line ends: "
            "no HTTP client can send others"
        )
    if not MIN_TOKEN_LENGTH <= len(text) <= _MAX_TOKEN_LENGTH:
        raise ValueError(
            f"must have {MIN_TOKEN_LENGTH} to {_MAX_TOKEN_LENGTH} characters: openssl rand -hex 16"
        )
    return secret


Token = Annotated[SecretStr, AfterValidator(_valid_token)]
"""A bearer token or an API key."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
"""The name of a token's or a key's holder, in logs, metrics and the audit log."""


def signing_key(secret: str) -> bytes:
    """Return the signing key: the decoded base64 of a `whsec_…` secret, else the text itself.

    Raises `ValueError` for invalid base64.
    """
    prefix = "whsec_"
    if not secret.startswith(prefix):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(prefix), validate=True)
