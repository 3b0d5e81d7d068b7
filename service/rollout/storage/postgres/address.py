"""Where the PostgreSQL server is, and how to log in to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from service import http_clients
from service.rollout.storage.errors import StoreError

DEFAULT_PORT = 5432

PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
"""The parameters that a URL may have. libpq has more; an unknown one is an error."""

SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A database on a server. `str` shows neither the password nor the parameters.

    `tls` is a context, or the modes `disable` and `prefer` by name.
    """

    host: str
    port: int
    database: str
    user: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | str = field(repr=False, compare=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"PostgreSQL at {host}:{self.port}/{self.database}"


def parse_address(url: str, password: str | None = None) -> PostgresAddress:
    """The address in a `postgresql://` URL; `password` is used unless the URL has one.

    Raises `StoreError`, whose message does not quote the URL.
    """
    parts = urlsplit(url)
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database:
        raise StoreError("rollout.url must end with the name of a database, as in /nextvec")
    given = parse_qsl(parts.query, keep_blank_values=True)
    parameters = dict(given)
    unknown = sorted(set(parameters) - set(PARAMETERS))
    if unknown or len(given) != len(parameters) or parts.fragment:
        wrong = f"does not know {unknown[0]!r}" if unknown else "has a parameter twice, or a #"
        raise StoreError(f"rollout.url {wrong}; it may have {', '.join(PARAMETERS)}, once each")
    own = None if parts.password is None else unquote(parts.password)
    return PostgresAddress(
        host=parts.hostname or "",
        port=parts.port or DEFAULT_PORT,
        database=database,
        user=None if parts.username is None else unquote(parts.username),
        password=own if own is not None else password,
        tls=_tls(parameters),
    )


def _tls(parameters: dict[str, str]) -> ssl.SSLContext | str:
    mode = parameters.get("sslmode", "prefer")
    if mode not in SSL_MODES:
        raise StoreError(f"sslmode in rollout.url must be one of {', '.join(SSL_MODES)}")
    if mode in {"disable", "prefer"}:
        if set(parameters) - {"sslmode"}:
            raise StoreError("rollout.url has files for TLS: set sslmode=verify-full as well")
        return mode
    files = [
        Path(parameters[name]) if name in parameters else None
        for name in ("sslrootcert", "sslcert", "sslkey")
    ]
    try:
        context = http_clients.tls_context(*files)
    except (OSError, ValueError) as error:
        named = ", ".join(str(file) for file in files if file is not None)
        raise StoreError(f"rollout.url: cannot use {named}: {error}") from error
    # As in libpq: only verify-full compares the name, and `require` trusts any certificate.
    context.check_hostname = mode == "verify-full"
    if mode == "require" and "sslrootcert" not in parameters:
        context.verify_mode = ssl.CERT_NONE
    return context
