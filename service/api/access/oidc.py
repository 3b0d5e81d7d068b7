"""Tokens of an OpenID Connect provider: JWTs signed with a key of its JWKS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple

import httpx
import orjson

from service import http_clients
from service.api.access.identity import Identity, LoginFailedError, Role
from service.clock import Clock
from service.errors import NotReady
from service.settings.access import OidcSettings

logger = logging.getLogger(__name__)

REFETCH_SECONDS = 10.0
"""Shortest time between two requests for the keys."""

MAX_STALE_SECONDS = 86_400.0
"""How long the last keys are used while the provider does not answer."""

MAX_JWKS_BYTES = 256 * 1024
MAX_TOKEN_CHARACTERS = 16 * 1024
MAX_NAME_CHARACTERS = 128

FetchKeys = Callable[[], Awaitable[bytes]]


class _Key(NamedTuple):
    """A key of the provider, and its algorithm if the provider names one."""

    public_key: Any
    algorithm: str | None


class OidcVerifier:
    """Checks tokens against the provider's keys, which it caches and fetches again.

    `reserved` are names of holders of static tokens, which a claim must not take. `fetch`
    returns the JWKS document.
    """

    def __init__(
        self,
        settings: OidcSettings,
        clock: Clock,
        *,
        reserved: Collection[str] = (),
        fetch: FetchKeys | None = None,
    ) -> None:
        try:
            import jwt  # noqa: PLC0415  an extra: only who sets an issuer needs it
        except ModuleNotFoundError as error:
            raise NotReady(
                "admin.oidc needs PyJWT: install it with pip install 'nextvec[oidc]'"
            ) from error
        self._jwt = jwt
        self._settings = settings
        self._clock = clock
        self._reserved = reserved
        self._fetch = fetch or self._fetch_over_http
        self._keys: dict[str, _Key] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def identify(self, token: str) -> Identity:
        """Return who the token names.

        Raises `LoginFailedError` for a token that is not accepted, and `NotReady` if the
        provider's keys were never fetched or are more than a day old.
        """
        jwt = self._jwt
        settings = self._settings
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise LoginFailedError("this token is too long", "invalid")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise LoginFailedError("this token is unknown", "unknown") from error
        if header.get("alg") not in settings.algorithms:
            raise LoginFailedError("this token's algorithm is not accepted", "invalid")
        key = await self._key(header.get("kid"))
        if key.algorithm not in {None, header["alg"]}:
            raise LoginFailedError("this token's algorithm is not that of its key", "invalid")
        try:
            claims = jwt.decode(
                token,
                key.public_key,
                algorithms=[header["alg"]],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise LoginFailedError("this token has expired", "expired") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            # Which check failed is for the log, not for whoever forges tokens.
            logger.info("a token was refused: %s", type(error).__name__)
            raise LoginFailedError("this token is not valid", "invalid") from error
        return Identity(self._name(claims), self._role(claims))

    async def _key(self, key_id: object) -> _Key:
        found = self._find(key_id)
        if found is None:
            await self._refresh()
            found = self._find(key_id)
        elif self._age > self._settings.keys_ttl_seconds:
            # In the background: a provider that hangs must not delay good tokens.
            self._refreshing = asyncio.create_task(self._refresh(), name="jwks-refresh")
        if self._age > MAX_STALE_SECONDS:
            raise NotReady("the identity provider's keys cannot be fetched; see the log")
        if found is None:
            raise LoginFailedError("this token is signed with an unknown key", "invalid")
        return found

    @property
    def _age(self) -> float:
        return self._clock.monotonic() - self._fetched_at

    def _find(self, key_id: object) -> _Key | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id) if isinstance(key_id, str) else None

    async def _refresh(self) -> None:
        """Fetch the keys, unless that was tried a moment ago."""
        async with self._lock:
            now = self._clock.monotonic()
            if now - self._tried_at < REFETCH_SECONDS:
                return
            self._tried_at = now
            try:
                self._keys = _parse_keys(await self._fetch(), self._settings.algorithms)
                self._fetched_at = now
            except (httpx.HTTPError, ValueError, TimeoutError) as error:
                # Not the error's text: it may quote the URL with its user info.
                logger.error(  # noqa: TRY400  an expected error; its kind suffices
                    "the identity provider's keys cannot be fetched from %s: %s",
                    self._settings.jwks_url,
                    type(error).__name__,
                )

    async def _fetch_over_http(self) -> bytes:
        url = self._settings.jwks_url
        assert url is not None
        options = http_clients.client_options(httpx.URL(url.address), http_clients.tls_context())
        async with (
            asyncio.timeout(10),
            httpx.AsyncClient(timeout=5, **options) as client,
            client.stream("GET", url.request_url, auth=url.credentials) as response,
        ):
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_JWKS_BYTES:
                    raise ValueError("the document is too large")
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code}")
            return bytes(body)

    def _role(self, claims: Mapping[str, Any]) -> Role:
        values: object = claims
        for part in self._settings.role_claim.split("."):
            values = values.get(part) if isinstance(values, Mapping) else None
        if self._settings.role_claim in claims:  # also names with dots, such as URLs
            values = claims[self._settings.role_claim]
        given = values if isinstance(values, list) else [values]
        known = self._settings.roles
        roles = [
            Role[known[each].upper()] for each in given if isinstance(each, str) and each in known
        ]
        if not roles:
            raise LoginFailedError("this token gives no role of this service", "no_role")
        return max(roles)

    def _name(self, claims: Mapping[str, Any]) -> str:
        found = claims.get(self._settings.name_claim)
        if not isinstance(found, str) or not found.strip():
            found = str(claims["sub"])
        name = "".join(letter if letter.isprintable() else "?" for letter in found.strip())
        name = name[:MAX_NAME_CHARACTERS]
        # A claim must not pass for the holder of a static token.
        return f"oidc:{name}" if name in self._reserved else name


def _parse_keys(document: bytes, algorithms: Collection[str]) -> dict[str, _Key]:
    """Return the usable keys of a JWKS by their id. Raises `ValueError` without any."""
    import jwt  # noqa: PLC0415  an extra

    parsed = orjson.loads(document)
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JWKS")  # noqa: TRY004  one kind of error for the caller
    found = {}
    for each in listed:
        if not isinstance(each, dict) or each.get("kty") == "oct" or each.get("use") == "enc":
            continue
        try:
            key = jwt.PyJWK.from_dict(each)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        algorithm = each.get("alg")
        if algorithm is None or algorithm in algorithms:
            found[str(each.get("kid", ""))] = _Key(key.key, algorithm)
    if not found:
        raise ValueError("no usable key")
    return found
