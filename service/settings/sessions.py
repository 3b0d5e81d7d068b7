"""Settings of sessions: the memory of this process, and the store that replicas share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from service.settings.urls import RedisUrl
from service.settings.values import ByteCount, FrozenModel, Seconds


class SessionSettings(FrozenModel):
    """The contexts kept on the server, in memory or in a store that all replicas share."""

    max_bytes: ByteCount = Field(
        1024 * 1024 * 1024,
        gt=0,
        description="Memory of all sessions, in bytes; above it the least recently used are "
        "evicted. With `sessions.url` this memory is a cache, and nothing is lost.",
        examples=[4 * 1024 * 1024 * 1024],
    )
    ttl_seconds: Seconds = Field(
        1800.0, description="Seconds after which an idle session expires.", examples=[600.0]
    )
    history_vectors: int = Field(
        1000,
        ge=1,
        le=10**6,
        description="Number of a session's last vectors that are kept, to move it to another "
        "version. The default is the window of Phase-3.",
        examples=[500],
    )
    compact_history: bool = Field(
        default=True,
        description="Keep these vectors as 8-bit integers, in a quarter of the memory. "
        "Recomputations from them (after a move, or past the window with `exact`) are then "
        "close, not equal.",
        examples=[False],
    )

    url: RedisUrl | None = Field(
        None,
        description="Redis (7 or later) or Valkey server that keeps the sessions, so that they "
        "outlive the process and any replica can go on with them: `redis://`, `rediss://` (TLS) or "
        "`unix://`. Without it they are in memory. Needs `pip install 'nextvec[fleet]'`. User info "
        "in the URL is used to log in and never shown.",
        examples=["redis://redis:6379/0"],
    )
    password: SecretStr | None = Field(
        None,
        description="Password for that server, in place of one in its URL.",
        examples=["/run/secrets/redis-password"],
    )
    ca: Path | None = Field(
        None,
        description="PEM file with the authorities that may have signed that server's "
        "certificate; by default those of the system.",
        examples=["/etc/nextvec/redis-ca.crt"],
    )
    certificate: Path | None = Field(
        None,
        description="PEM file with the certificate by which the service logs in to that server.",
        examples=["/etc/nextvec/redis-client.crt"],
    )
    key: Path | None = Field(
        None,
        description="PEM file with the key of that certificate, without a password.",
        examples=["/etc/nextvec/redis-client.key"],
    )
    durability: Literal["async", "sync"] = Field(
        "async",
        description="`async` answers before the store has the vectors: the death of a replica "
        "loses those on their way, and the next append is told so by 409. `sync` answers when "
        "the store has them.",
        examples=["sync"],
    )
    when_store_down: Literal["serve", "refuse"] = Field(
        "refuse",
        description="`serve` goes on with sessions in memory and stores their vectors "
        "when the store is back; `refuse` answers 503. Other sessions are 503 in both cases.",
        examples=["serve"],
    )
    store_timeout_seconds: Seconds = Field(
        0.5,
        le=60,
        description="Longest wait for the store, in seconds; after it the store counts as down.",
        examples=[0.2],
    )
    backlog_vectors: int = Field(
        100_000,
        ge=1,
        le=10**9,
        description="Maximum number of vectors that wait to be stored; above it, 429. They take no "
        "memory beyond that of their sessions.",
        examples=[10_000],
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        url, password = self.url, self.password
        if url is not None and url.credentials is not None and url.credentials[1] and password:
            raise ValueError("url has a password and password is set: set one")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        certificates = self.ca is not None or self.certificate is not None
        if certificates and url is not None and not url.is_encrypted:
            raise ValueError("ca and certificate are for a url that begins with rediss://")
        return self
