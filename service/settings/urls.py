"""Types of settings' values: addresses of servers, which may hold credentials."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_USER_INFO = re.compile(r"(\w://)[^\s'\"]*@")
"""Up to the last "@", because a password may be written with "/" and "@" in it."""


def hide_user_info(text: str) -> str:
    """Return `text` without the user names and passwords of its URLs."""
    return _USER_INFO.sub(r"\1…@", text)


class ServiceUrl:
    """The URL of a server. Its text never shows its credentials.

    `str` and `repr` leave out user info, query and fragment, each of which may hold a
    secret. `get_secret_value` is the whole URL.
    """

    __slots__ = ("_address", "_credentials", "_text")

    schemes: ClassVar[tuple[str, ...]]
    expected: ClassVar[str]
    """What a URL must be, for messages."""

    def __init__(self, text: str) -> None:
        """Raises `ValueError`, whose message does not quote the URL."""
        parts = urlsplit(_checked_url(text, self.schemes, self.expected))
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
    def has_password(self) -> bool:
        """Whether the user info has a password."""
        return urlsplit(self._text).password is not None

    def get_secret_value(self) -> str:
        """Return the whole URL."""
        return self._text

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServiceUrl) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def validate(value: object) -> ServiceUrl:
            if isinstance(value, cls):
                return value
            if not isinstance(value, str):
                raise ValueError(f"must be {cls.expected}")  # noqa: TRY004  pydantic reports ValueError
            return cls(value)

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.to_string_ser_schema()
        )


class HttpUrl(ServiceUrl):
    """An http(s) URL."""

    __slots__ = ()

    schemes = ("http", "https")
    expected = "an http(s) URL with a host"

    @property
    def request_url(self) -> str:
        """The URL without user info, with its query: only for requests."""
        query = urlsplit(self._text).query
        return f"{self._address}?{query}" if query else self._address


class DatabaseUrl(ServiceUrl):
    """The URL of a PostgreSQL database."""

    __slots__ = ()

    schemes = ("postgresql", "postgres")
    expected = "a postgresql:// URL with a host and the name of a database"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        if not urlsplit(text).path.strip("/"):
            raise ValueError(f"must be {self.expected}")


def _checked_url(text: str, schemes: tuple[str, ...], expected: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be ASCII without spaces: percent-encode other characters")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  urlsplit parses the port on access
    except ValueError:
        raise ValueError("must have a valid host, and a port from 0 to 65535, or none") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"must be {expected}")
    return text


def _without_query(url: HttpUrl) -> HttpUrl:
    parts = urlsplit(url.get_secret_value())
    if parts.query or parts.fragment:
        raise ValueError("must have neither a query nor a fragment: paths are added to it")
    return url


BaseUrl = Annotated[HttpUrl, AfterValidator(_without_query)]
"""An `HttpUrl` to which paths are added."""


class RedisUrl(ServiceUrl):
    """The URL of a Redis or Valkey server: `redis://`, `rediss://` (TLS) or `unix://`.

    `redis://user:password@host:port/database`, or `unix:///path/of/socket?db=database`.
    """

    __slots__ = ()

    schemes = ("redis", "rediss")
    expected = "redis://host:port/database, rediss://… (TLS) or unix:///path/of/socket"

    def __init__(self, text: str) -> None:
        """Raises `ValueError`, whose message does not quote the URL."""
        if text.startswith("unix:"):
            self._text = text
            self._credentials = None
            self._address = f"unix://{self._parse_socket(text)[0]}"
            return
        super().__init__(text)
        parts = urlsplit(text)
        if parts.query or parts.fragment:
            raise ValueError("must have neither a query nor a fragment")
        if parts.path not in {"", "/"} and not parts.path[1:].isdigit():
            raise ValueError("must have the number of a database as its path, or none")

    @property
    def socket_path(self) -> str | None:
        """The path of the server's socket, for `unix://`."""
        return self._parse_socket(self._text)[0] if self._text.startswith("unix:") else None

    @property
    def host(self) -> str:
        return urlsplit(self._text).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self._text).port or 6379

    @property
    def database(self) -> int:
        if self._text.startswith("unix:"):
            return self._parse_socket(self._text)[1]
        return int(urlsplit(self._text).path[1:] or 0)

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self._text.startswith("rediss:")

    @staticmethod
    def _parse_socket(text: str) -> tuple[str, int]:
        parts = urlsplit(text)
        known = re.fullmatch(r"(?:db=(\d{1,4}))?", parts.query)
        if parts.netloc or not parts.path.startswith("/") or known is None or parts.fragment:
            raise ValueError("must be unix:///path/of/socket, with ?db=NUMBER at most")
        return unquote(parts.path), int(known.group(1) or 0)
