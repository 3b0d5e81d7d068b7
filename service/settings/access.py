"""Settings of who may call, and of the connection."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from service.settings.urls import HttpUrl
from service.settings.values import ByteCount, FrozenModel, Name, Seconds, Token

RoleName = Literal["viewer", "operator", "approver"]

JwtAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Asymmetric ones only: with a shared secret, whoever can check a token could also make one."""


class AdminTokenSettings(FrozenModel):
    """A named bearer token."""

    name: Name = Field(description="Who holds the token; the audit log records this name.")
    role: RoleName = Field(description="`viewer`, `operator` or `approver`.")
    token: Token = Field(description="The token; `token_file` names a file that has it.")


class OidcSettings(FrozenModel):
    """JSON Web Tokens of an OpenID Connect provider, so that the audit log names a person.

    Needs `pip install 'nextvec[oidc]'`. Static tokens go on working beside it.
    """

    issuer: str | None = Field(
        None,
        pattern=r"^https?://[^\s@?#]+$",
        description="Issuer of the tokens, their claim `iss`. Setting it enables this group.",
        examples=["https://login.example.org/realms/ops"],
    )
    audience: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Audience that a token must name in its claim `aud`.",
        examples=["nextvec"],
    )
    jwks_url: HttpUrl | None = Field(
        None,
        description="URL of the provider's keys (JWKS). User info in it is used to log in.",
        examples=["https://login.example.org/realms/ops/protocol/openid-connect/certs"],
    )
    algorithms: tuple[JwtAlgorithm, ...] = Field(
        ("RS256", "ES256"),
        min_length=1,
        description="Signature algorithms that are accepted; only asymmetric ones can be.",
        examples=[["ES256"]],
    )
    role_claim: str = Field(
        "nextvec_role",
        min_length=1,
        max_length=255,
        description="Claim that has the role, or a list with it. Dots lead into objects. The "
        "highest of several roles counts.",
        examples=["realm_access.roles"],
    )
    roles: dict[str, RoleName] = Field(
        {"viewer": "viewer", "operator": "operator", "approver": "approver"},
        description="The role of each value of the role claim; other values give none.",
        examples=[{"ml-platform": "operator", "ml-leads": "approver"}],
    )
    name_claim: str = Field(
        "email",
        min_length=1,
        max_length=255,
        description="Claim with the person's name for the audit log; `sub` if a token has none.",
        examples=["preferred_username"],
    )
    leeway_seconds: float = Field(
        30.0,
        ge=0,
        le=300,
        description="Seconds by which the provider's clock may differ.",
        examples=[5.0],
    )
    keys_ttl_seconds: Seconds = Field(
        600.0,
        ge=10,
        le=86_400,
        description="Seconds after which the provider's keys are fetched again. An unknown key "
        "id fetches them at once, at most every 10 seconds.",
        examples=[3600.0],
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given = {name: getattr(self, name) for name in ("issuer", "audience", "jwks_url")}
        missing = [name for name, value in given.items() if value is None]
        if missing and len(missing) < len(given):
            raise ValueError(
                f"issuer, audience and jwks_url belong together; {missing[0]} is unset"
            )
        return self


class AdminSettings(FrozenModel):
    """Who may read and change the rollout. A role includes the roles before it, in the order
    viewer, operator, approver; a role that nobody has is disabled.
    """

    viewer_token: Token | None = Field(
        None,
        description="Bearer token of the role viewer, which may read the rollout and its history. "
        "The audit log calls its holder `viewer`.",
        examples=["/run/secrets/viewer-token"],
    )
    operator_token: Token | None = Field(
        None,
        description="Bearer token of the role operator, which may also start, retry, pause and "
        "abort a rollout, and load and unload versions.",
        examples=["/run/secrets/operator-token"],
    )
    approver_token: Token | None = Field(
        None,
        description="Bearer token of the role approver, which may also promote, resume, undo and "
        "override the gate.",
        examples=["/run/secrets/approver-token"],
    )
    login_code: Token | None = Field(
        None,
        description="Code that opens the console once after each start, for a person who gets the "
        "address `…/console#login=CODE`. It gives the role approver until the service ends; the "
        "audit log calls that person `link`. `nextvec demo` makes one.",
        examples=["/run/secrets/login-code"],
    )
    tokens: tuple[AdminTokenSettings, ...] = Field(
        (),
        max_length=1000,
        description="Named bearer tokens, so that the audit log says who made a change.",
        examples=[[{"name": "alice", "role": "approver", "token": "alices-own-secret-token"}]],
    )
    oidc: OidcSettings = OidcSettings()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        static = [
            (role, getattr(self, f"{role}_token")) for role in ("viewer", "operator", "approver")
        ]
        held = [(name, token) for name, token in static if token is not None]
        held += [(each.name, each.token) for each in self.tokens]
        _check_distinct(held)
        for each in self.tokens:
            if each.name in {"viewer", "operator", "approver"} and each.name != each.role:
                raise ValueError(f"the name {each.name} belongs to the role {each.name}")
        return self


class ApiKeySettings(FrozenModel):
    """A caller of the prediction routes."""

    name: Name = Field(description="Who holds the key; logs and metrics use this name.")
    key: Token = Field(description="The key; `key_file` names a file that has it.")
    requests_per_second: float | None = Field(
        None, gt=0, le=1e6, description="Requests a second on average; above it, 429."
    )
    vectors_per_second: float | None = Field(
        None, gt=0, le=1e9, description="Vectors a second on average; above it, 429."
    )
    max_sessions: int | None = Field(
        None, ge=0, le=10**9, description="Sessions at a time; above it, 429 for a new one."
    )
    max_session_bytes: ByteCount | None = Field(
        None, description="Memory of its sessions, in bytes; above it, 429 for a new one."
    )


class CallerSettings(FrozenModel):
    """Who may ask for predictions: everybody, or the holders of API keys.

    A caller sends its key as `Authorization: Bearer …` or `X-API-Key: …`. Sessions, labels
    and cached contexts belong to the key that began them.
    """

    keys: tuple[ApiKeySettings, ...] = Field(
        (),
        max_length=10_000,
        description="API keys. Without any, every caller is allowed; with one, `/v1` and `/v2` "
        "need a key, except the health checks.",
        examples=[[{"name": "search", "key": "the-key-of-search-1", "requests_per_second": 200.0}]],
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        _check_distinct((each.name, each.key) for each in self.keys)
        return self


class TlsSettings(FrozenModel):
    """HTTPS without a proxy in front of the service. Changed files are loaded while it runs."""

    certificate: Path | None = Field(
        None,
        description="PEM file with the certificate and its chain. With `key`, the service speaks "
        "HTTPS only.",
        examples=["/etc/nextvec/tls.crt"],
    )
    key: Path | None = Field(
        None,
        description="PEM file with the certificate's private key, without a password.",
        examples=["/etc/nextvec/tls.key"],
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        return self


class ProxySettings(FrozenModel):
    """A proxy in front of the service."""

    trusted: tuple[str, ...] = Field(
        (),
        max_length=1000,
        description="Addresses or networks of proxies whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed. Failed log-ins are then counted for the caller's "
        "address and not for the proxy's.",
        examples=[["127.0.0.1", "10.0.0.0/8"]],
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Prefix that the proxy removes from paths, for links on `/docs`; empty if it "
        "removes none.",
        examples=["/nextvec"],
        json_schema_extra={"may_be_blank": True},
    )

    @field_validator("trusted")
    @classmethod
    def _networks(cls, trusted: tuple[str, ...]) -> tuple[str, ...]:
        for each in trusted:
            try:
                ipaddress.ip_network(each)
            except ValueError:
                raise ValueError(
                    f"{each[:64]!r} is neither an address nor a network such as 10.0.0.0/8"
                ) from None
        return trusted


def _check_distinct(held: Iterable[tuple[str, SecretStr]]) -> None:
    """Raise `ValueError` for two holders of one name, or of one secret."""
    pairs = list(held)
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"the name {name} is given twice: give each holder a name of its own")
    holders: dict[str, str] = {}
    for name, secret in pairs:
        other = holders.setdefault(secret.get_secret_value(), name)
        if other != name:
            raise ValueError(f"{other} and {name} have the same secret: give each its own")
