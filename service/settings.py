"""Every setting, read once, frozen. `docs/reference/settings.md` lists them; a test compares."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineSettings(_Frozen):
    """How a version runs."""

    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="`auto` takes CUDA when it is there; `cuda` refuses to start without it"
    )
    intra_op_threads: PositiveInt = Field(1, description="ONNX Runtime threads a version")
    precision: Literal["auto", "fp32", "int8", "fp16"] = Field(
        "auto",
        description="`auto` takes the fastest that a version carries for the device and that "
        "stays within cosine 0.9999 of fp32; any other refuses a version without it",
    )
    device_states: int = Field(
        8192,
        ge=0,
        description="states of sessions kept on the GPU, 8 KiB each; those beyond wait on the "
        "host; 0 keeps all there; else at least 128",
    )
    cuda_graphs: bool = Field(
        default=False,
        description="on a GPU, replay each step as one CUDA graph; given up, with an error in the "
        "log, where replays do not hold",
    )
    gru_kernels: bool = Field(
        default=True,
        description="On a GPU, run a Memory-Augmented GRU on the package's own kernels, in fp32, "
        "if their answers equal the exported graph's when the version is loaded. "
        "Set it to false to run everything on ONNX Runtime.",
    )
    max_batch: PositiveInt = Field(32, description="requests that run together at most")
    prefill_chunk: PositiveInt = Field(
        500, description="vectors of a long context run before others get their turn"
    )
    queue_limit: PositiveInt = Field(256, description="requests waiting a version; over it, 429")

    @field_validator("device_states")
    @classmethod
    def _none_or_enough(cls, states: int) -> int:
        # A full batch needs its states, those brought along and the new ones at once.
        if 0 < states < 128:
            raise ValueError("device_states must be 0 or at least 128")
        return states


class LimitSettings(_Frozen):
    """What a caller may send and how long it may take."""

    max_rows: PositiveInt = Field(4096, description="vectors in one request")
    max_body_bytes: PositiveInt = Field(32 * 1024 * 1024, description="bytes of a request's body")
    max_held_bytes: PositiveInt = Field(
        256 * 1024 * 1024, description="bytes of all bodies held at once; over it, 429"
    )
    timeout_seconds: PositiveFloat = Field(10.0, description="deadline of a request; over it, 504")
    body_timeout_seconds: PositiveFloat = Field(
        30.0, description="for a head to arrive, and then its body; a stalled one is dropped"
    )


class SessionSettings(_Frozen):
    """The contexts kept on the server."""

    max_bytes: PositiveInt = Field(
        1024 * 1024 * 1024, description="memory of all sessions; over it the least recent go"
    )
    ttl_seconds: PositiveFloat = Field(1800.0, description="an idle session is kept this long")
    history_vectors: PositiveInt = Field(
        1000, description="a session's last vectors, kept to move it to another version"
    )
    compact_history: bool = Field(
        default=True,
        description="keep them as 8-bit integers: a quarter of the memory; what is recomputed "
        "from them (a move, or past the window of `exact`) is near and not equal",
    )


class PrefixCacheSettings(_Frozen):
    """What is remembered of whole contexts, so that one sent again is cheap."""

    max_bytes: NonNegativeInt = Field(
        64 * 1024 * 1024, description="memory of the states kept; 0 turns it off"
    )


class WebhookSettings(_Frozen):
    """Who is told of transitions. The address is a secret as well: it may be all that a
    receiver checks."""

    url: SecretStr = Field(description="http(s); told by POST")
    secret: SecretStr | None = Field(
        None, description="signs the body; `whsec_` and base64, or any text of 16 characters"
    )
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="in metrics and logs; the address's host where it is left out",
    )

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: SecretStr) -> SecretStr:
        told = url.get_secret_value()
        parts = urlsplit(told)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http(s) address with a host")
        if "@" in parts.netloc:
            raise ValueError("must have no user or password; sign with `secret` instead")
        if not told.isascii() or not told.isprintable() or " " in told:
            raise ValueError("must be of ASCII without spaces: percent-encode the others")
        try:
            parts.port  # noqa: B018  it is parsed when it is read
        except ValueError:
            raise ValueError("must have a port of 0 to 65535, or none") from None
        return url

    @field_validator("secret")
    @classmethod
    def _hard_to_guess(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            try:
                key = signing_key(secret.get_secret_value())
            except ValueError as error:
                raise ValueError("after whsec_ there must be base64") from error
            if len(key) < 16:
                raise ValueError("must have 16 bytes at least: openssl rand -base64 32")
        return secret

    @property
    def label(self) -> str:
        """Its name, or its host."""
        return self.name or urlsplit(self.url.get_secret_value()).hostname or ""

    @property
    def key(self) -> bytes | None:
        """What bodies are signed with."""
        return None if self.secret is None else signing_key(self.secret.get_secret_value())


def signing_key(secret: str) -> bytes:
    """The bytes to sign with: of a `whsec_…` what its base64 holds, else the text itself.

    Raises `ValueError` where the base64 is none.
    """
    prefix = "whsec_"
    if not secret.startswith(prefix):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(prefix), validate=True)


class FeedbackSettings(_Frozen):
    """Predictions of `/v1/predict` kept for the label that may come."""

    max_bytes: NonNegativeInt = Field(
        64 * 1024 * 1024, description="memory of the predictions kept; 0 turns `/v1/feedback` off"
    )
    ttl_seconds: PositiveFloat = Field(600.0, description="a prediction waits so long for one")


class RolloutSettings(_Frozen):
    """The guardrail's ticker and record."""

    database: Path = Field(Path("nextvec.db"), description="SQLite file of state and audit log")
    plan: Path | None = Field(
        None, description="YAML or JSON file of the plan a start uses when it brings none"
    )
    interval_seconds: PositiveFloat = Field(15.0, description="a look at the evidence every")
    prometheus_url: str | None = Field(
        None,
        pattern=r"^https?://[^/]",
        description="the evidence is read from this Prometheus server, not from the process",
    )
    prometheus_matchers: str = Field(
        'job="nextvec"', description="PromQL matchers of the fleet's own series; empty takes all"
    )
    webhooks: tuple[WebhookSettings, ...] = Field(
        (), max_length=16, description="JSON list of who is told of transitions: url, secret, name"
    )

    @field_validator("webhooks")
    @classmethod
    def _told_apart(cls, webhooks: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
        labels = [webhook.label for webhook in webhooks]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two webhooks are called {label}: give each a name of its own")
        return webhooks


class AdminSettings(_Frozen):
    """Bearer tokens; a role includes the ones before it. None set: that role is closed."""

    viewer_token: SecretStr | None = Field(None, description="may read")
    operator_token: SecretStr | None = Field(None, description="may start, retry, pause and abort")
    approver_token: SecretStr | None = Field(
        None, description="may promote, resume and undo as well"
    )

    @field_validator("*")
    @classmethod
    def _not_blank(cls, token: SecretStr | None) -> SecretStr | None:
        # An unset variable that a template passed on as "" must not open the role.
        if token is not None and not token.get_secret_value().strip():
            raise ValueError(
                "a token must not be blank: leave the variable unset to close the role"
            )
        return token


class Settings(BaseSettings):
    """The tree. `NEXTVEC_ENGINE__DEVICE=cuda` sets `engine.device`."""

    model_config = SettingsConfigDict(
        env_prefix="NEXTVEC_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    models: Path = Field(Path("models"), description="the model repository")
    model: str = Field("next-vector", description="the model's name in the repository and in /v2")
    stable: str = Field("phase-2", description="stable's version until a promotion is recorded")
    canary: str | None = Field(
        None, description="the version loaded beside it, ready to be started"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    engine: EngineSettings = EngineSettings()
    limits: LimitSettings = LimitSettings()
    sessions: SessionSettings = SessionSettings()
    prefix_cache: PrefixCacheSettings = PrefixCacheSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    rollout: RolloutSettings = RolloutSettings()
    admin: AdminSettings = AdminSettings()
