"""Types of settings' values: secrets, URLs, durations and sizes."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

MIN_TOKEN_LENGTH = 16
"""Characters of the shortest token or key: `openssl rand -hex 16` makes 32."""

_MAX_TOKEN_LENGTH = 4096


class FrozenModel(BaseModel):
    """A group of settings. Unknown names are refused, and no error shows a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


Seconds = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]
"""A duration above 0, at most some four months."""

ByteCount = Annotated[int, Field(ge=0, le=2**50)]


class HttpUrl:
    """An http(s) URL whose text never shows its credentials.

    `str` and `repr` leave out user info, query and fragment, each of which may hold a
    secret. `get_secret_value` is the whole URL.
    """

    __slots__ = ("_address", "_credentials", "_text")

    def __init__(self, text: str) -> None:
        """Raises `ValueError`, whose message does not quote the URL."""
        parts = urlsplit(_checked_url(text))
        self._text = text
        host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
        port = "" if parts.port is None else f":{parts.port}"
        self._address = f"{parts.scheme}://{host}{port}{parts.path}"
        self._credentials = (
            (unquote(parts.username or ""), unquote(parts.password or ""))
            if "@" in parts.netloc
            else None
        )

    @property
    def address(self) -> str:
        """The URL without user info, query and fragment: for requests, logs and errors."""
        return self._address

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User name and password of the user info, decoded; None without one."""
        return self._credentials

    @property
    def request_url(self) -> str:
        """The URL without user info, with its query: only for requests."""
        query = urlsplit(self._text).query
        return f"{self._address}?{query}" if query else self._address

    def get_secret_value(self) -> str:
        """Return the whole URL."""
        return self._text

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"HttpUrl({self._address!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HttpUrl) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def validate(value: object) -> HttpUrl:
            if isinstance(value, HttpUrl):
                return value
            if not isinstance(value, str):
                raise ValueError("must be an http(s) URL")  # noqa: TRY004  pydantic reports ValueError
            return cls(value)

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.to_string_ser_schema()
        )


def _checked_url(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be ASCII without spaces: percent-encode other characters")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  urlsplit parses the port on access
    except ValueError:
        raise ValueError("must have a valid host, and a port from 0 to 65535, or none") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http(s) URL with a host")
    return text


def _without_query(url: HttpUrl) -> HttpUrl:
    parts = urlsplit(url.get_secret_value())
    if parts.query or parts.fragment:
        raise ValueError("must have neither a query nor a fragment: paths are added to it")
    return url


BaseUrl = Annotated[HttpUrl, AfterValidator(_without_query)]
"""An `HttpUrl` to which paths are added."""


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
