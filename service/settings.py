"""All settings: read once at start, then immutable.

`docs/reference/settings.md` is generated from the descriptions here
(`python -m service.commands.settings_reference`); a test compares them.
"""

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


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineSettings(_FrozenModel):
    """How the engine runs a version."""

    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto",
        description="`auto` uses CUDA if it is available and the CPU otherwise; `cuda` refuses to "
        "start without CUDA.",
    )
    intra_op_threads: PositiveInt = Field(
        1,
        description="ONNX Runtime threads of each version. Two make a single session faster and "
        "many sessions slower.",
    )
    precision: Literal["auto", "fp32", "int8", "fp16"] = Field(
        "auto",
        description="`auto` uses the fastest precision of the version for this device that stays "
        "within cosine 0.9999 of fp32 (`fp16` on CUDA; on the CPU `int8` steps, for the sizes of "
        "batch at which they are faster when the version is loaded). Any other value "
        "refuses a version without that precision.",
    )
    device_states: int = Field(
        8192,
        ge=0,
        description="Session states kept on the GPU, 8 KiB each; further ones wait on the host. "
        "0 keeps all on the host; otherwise at least 128. Only for versions exported with "
        "`--fp16`.",
    )
    cuda_graphs: bool = Field(
        default=False,
        description="On a GPU, replay each step as one CUDA graph. Disabled with an error in the "
        "log if a replay differs from a normal run.",
    )
    gru_kernels: bool = Field(
        default=True,
        description="On a GPU, run a Memory-Augmented GRU on the package's own kernels, in fp32, "
        "if their answers equal the exported graph's when the version is loaded. "
        "Set it to false to run everything on ONNX Runtime.",
    )
    max_batch: PositiveInt = Field(32, description="Maximum number of requests in one batch.")
    prefill_chunk: PositiveInt = Field(
        500,
        description="Vectors of a long context that run before other requests get a turn. Also "
        "the distance between states in the prefix cache.",
    )
    queue_limit: PositiveInt = Field(
        256, description="Maximum number of requests that wait for one version; above it, 429."
    )

    @field_validator("device_states")
    @classmethod
    def _none_or_a_full_batch(cls, states: int) -> int:
        # A full batch needs room for the states it reads and the new ones at the same time.
        if 0 < states < 128:
            raise ValueError("device_states must be 0 or at least 128")
        return states


class LimitSettings(_FrozenModel):
    """What a caller may send, and how long a request may take."""

    max_rows: PositiveInt = Field(4096, description="Maximum number of vectors in one request.")
    max_body_bytes: PositiveInt = Field(
        32 * 1024 * 1024, description="Maximum size of a request's body, in bytes; above it, 413."
    )
    max_held_bytes: PositiveInt = Field(
        256 * 1024 * 1024,
        description="Maximum size of all bodies in memory together, in bytes; above it, 429.",
    )
    timeout_seconds: PositiveFloat = Field(
        10.0, description="Deadline of a request, in seconds; after it, 504."
    )
    body_timeout_seconds: PositiveFloat = Field(
        30.0,
        description="Seconds for the head to arrive, and then for the body. A stalled request is "
        "dropped.",
    )


class SessionSettings(_FrozenModel):
    """The contexts kept on the server."""

    max_bytes: PositiveInt = Field(
        1024 * 1024 * 1024,
        description="Memory of all sessions, in bytes; above it the least recently used are "
        "evicted.",
    )
    ttl_seconds: PositiveFloat = Field(
        1800.0, description="Seconds after which an idle session expires."
    )
    history_vectors: PositiveInt = Field(
        1000,
        description="Number of a session's last vectors that are kept, to move it to another "
        "version. The default is the window of Phase-3.",
    )
    compact_history: bool = Field(
        default=True,
        description="Keep these vectors as 8-bit integers, in a quarter of the memory. "
        "Recomputations from them (after a move, or past the window with `exact`) are then "
        "close, not equal.",
    )


class PrefixCacheSettings(_FrozenModel):
    """The cache of states of whole contexts, which makes a resent context cheap."""

    max_bytes: NonNegativeInt = Field(
        64 * 1024 * 1024, description="Memory of the prefix cache, in bytes; 0 disables it."
    )


class WebhookSettings(_FrozenModel):
    """A receiver of transitions. Its URL is a secret too: receivers may check nothing else."""

    url: SecretStr = Field(description="The http(s) URL that receives each transition by POST.")
    secret: SecretStr | None = Field(
        None,
        description="Key that signs the body: `whsec_` and base64, or text of at least 16 bytes.",
    )
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name in metrics and logs. The default is the host of the URL.",
    )

    @field_validator("url")
    @classmethod
    def _valid_url(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http(s) URL with a host")
        if "@" in parts.netloc:
            raise ValueError("must not contain a user or password; sign with `secret` instead")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("must be ASCII without spaces: percent-encode other characters")
        try:
            parts.port  # noqa: B018  urlsplit parses the port on access
        except ValueError:
            raise ValueError("must have a port from 0 to 65535, or none") from None
        return url

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            try:
                key = signing_key(secret.get_secret_value())
            except ValueError as error:
                raise ValueError("must continue with base64 after whsec_") from error
            if len(key) < 16:
                raise ValueError("must have at least 16 bytes: openssl rand -base64 32")
        return secret

    @property
    def label(self) -> str:
        """The name, or the host of the URL."""
        return self.name or urlsplit(self.url.get_secret_value()).hostname or ""

    @property
    def key(self) -> bytes | None:
        """The bytes that sign bodies, or None."""
        return None if self.secret is None else signing_key(self.secret.get_secret_value())


def signing_key(secret: str) -> bytes:
    """Return the signing key: the decoded base64 of a `whsec_…` secret, else the text itself.

    Raises `ValueError` for invalid base64.
    """
    prefix = "whsec_"
    if not secret.startswith(prefix):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(prefix), validate=True)


class FeedbackSettings(_FrozenModel):
    """Predictions of `/v1/predict` that wait for a label."""

    max_bytes: NonNegativeInt = Field(
        64 * 1024 * 1024,
        description="Memory of predictions of `/v1/predict` that wait for a label, in bytes, some "
        "4 KiB each; 0 disables `/v1/feedback`.",
    )
    ttl_seconds: PositiveFloat = Field(
        600.0, description="Seconds that a prediction waits for its label."
    )


class RolloutSettings(_FrozenModel):
    """The controller of the rollout, its evidence and its record."""

    database: Path = Field(
        Path("nextvec.db"), description="SQLite file of the rollout's state and audit log."
    )
    plan: Path | None = Field(
        None,
        description="Plan file (YAML or JSON) for rollouts that are started without a plan.",
    )
    interval_seconds: PositiveFloat = Field(
        15.0, description="Seconds between guardrail evaluations."
    )
    prometheus_url: str | None = Field(
        None,
        pattern=r"^https?://[^/]",
        description="Prometheus server to read evidence from, instead of this process. It must "
        "scrape at least once per interval.",
    )
    prometheus_matchers: str = Field(
        'job="nextvec"',
        description="PromQL matchers that select the fleet's series; empty selects all.",
    )
    webhooks: tuple[WebhookSettings, ...] = Field(
        (),
        max_length=16,
        description="JSON list of webhooks that receive transitions: `url`, `secret`, `name`. "
        "See [webhooks](../how-to/run-a-rollout.md#webhooks).",
    )

    @field_validator("webhooks")
    @classmethod
    def _unique_labels(cls, webhooks: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
        labels = [webhook.label for webhook in webhooks]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two webhooks are called {label}: give each a different name")
        return webhooks


class AdminSettings(_FrozenModel):
    """Bearer tokens. A role includes the roles before it; a role without a token is disabled."""

    viewer_token: SecretStr | None = Field(None, description="Token of the role viewer: read.")
    operator_token: SecretStr | None = Field(
        None, description="Token of the role operator: also start, retry, pause and abort."
    )
    approver_token: SecretStr | None = Field(
        None,
        description="Token of the role approver: also promote, resume, undo and override the gate.",
    )

    @field_validator("*")
    @classmethod
    def _not_blank(cls, token: SecretStr | None) -> SecretStr | None:
        # A template may pass an unset variable on as "": that must not enable the role.
        if token is not None and not token.get_secret_value().strip():
            raise ValueError(
                "a token must not be blank: leave the variable unset to disable the role"
            )
        return token


class Settings(BaseSettings):
    """The tree of settings. `NEXTVEC_ENGINE__DEVICE=cuda` sets `engine.device`."""

    model_config = SettingsConfigDict(
        env_prefix="NEXTVEC_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    models: Path = Field(Path("models"), description="Path of the model repository.")
    model: str = Field(
        "next-vector", description="Name of the model, in the repository and under `/v2`."
    )
    stable: str = Field(
        "phase-2", description="Version that is stable until a promotion is recorded."
    )
    canary: str | None = Field(
        None, description="Version to load beside stable, ready for a rollout."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 selects a free one.")
    engine: EngineSettings = EngineSettings()
    limits: LimitSettings = LimitSettings()
    sessions: SessionSettings = SessionSettings()
    prefix_cache: PrefixCacheSettings = PrefixCacheSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    rollout: RolloutSettings = RolloutSettings()
    admin: AdminSettings = AdminSettings()
