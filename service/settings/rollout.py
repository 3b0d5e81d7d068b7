"""Settings of the rollout: its floor, its evidence, its record and its webhooks."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from service.settings.urls import BaseUrl, DatabaseUrl, HttpUrl
from service.settings.values import Credential, FrozenModel, Seconds, signing_key


class WebhookSettings(FrozenModel):
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
        if HttpUrl(url.get_secret_value()).credentials is not None:
            raise ValueError("must not contain a user or password; sign with `secret` instead")
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


class FloorSettings(FrozenModel):
    """What every plan must demand at least. Only these settings can lower it: a start with a plan
    below the floor is refused with 422, whatever the caller's role.
    """

    min_dwell_seconds: float = Field(
        0.0,
        ge=0,
        le=1e7,
        allow_inf_nan=False,
        description="Smallest allowed `min_dwell_seconds` of a step with a weight.",
        examples=[120.0],
    )
    min_samples: int = Field(
        0,
        ge=0,
        le=10**9,
        description="Smallest allowed `min_samples` of a step with a weight.",
        examples=[500],
    )
    required_guardrails: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="Guardrails that every step below 100 % must require.",
        examples=[["latency", "errors"]],
    )
    max_ratio: float | None = Field(
        None,
        gt=1,
        le=10,
        allow_inf_nan=False,
        description="Largest allowed `ratio` of a plan, canary P95 to stable P95.",
        examples=[1.2],
    )
    max_error_margin: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Largest allowed `guardrails.errors.margin` of a plan.",
        examples=[0.05],
    )
    min_alpha: float = Field(
        0.0,
        ge=0,
        le=0.1,
        allow_inf_nan=False,
        description="Smallest allowed `alpha` of a plan. A smaller one fails a bad canary later.",
        examples=[0.01],
    )
    approval: bool = Field(
        default=True,
        description="The last step of a plan must have `approval`, unless an approver starts it: "
        "an operator alone cannot make a version stable.",
        examples=[False],
    )


class RolloutSettings(FrozenModel):
    """The controller of the rollout, its evidence and its record."""

    database: Path = Field(
        Path("nextvec.db"),
        description="SQLite file of the rollout's state and audit log, for one replica. Not used "
        "with `rollout.url`.",
        examples=["/state/nextvec.db"],
    )
    url: DatabaseUrl | None = Field(
        None,
        description="PostgreSQL database in which the replicas of a fleet share one rollout; it "
        "needs `pip install 'nextvec[fleet]'`. Parameters: `sslmode`, `sslrootcert`, `sslcert`, "
        "`sslkey`. A user and a password in it are never shown. See "
        "[a rollout in a fleet](../explanation/rollout-in-a-fleet.md).",
        examples=["postgresql://nextvec@postgres:5432/nextvec?sslmode=verify-full"],
    )
    password: SecretStr | None = Field(
        None,
        min_length=1,
        description="Password for that database, in place of one in its URL.",
        examples=["/run/secrets/postgres-password"],
    )
    plan: Path | None = Field(
        None,
        description="Plan file (YAML or JSON) for rollouts that are started without a plan.",
        examples=["/etc/nextvec/plan.yaml"],
    )
    interval_seconds: Seconds = Field(
        15.0, le=86_400, description="Seconds between guardrail evaluations.", examples=[5.0]
    )
    prometheus_url: BaseUrl | None = Field(
        None,
        description="Prometheus server to read evidence from, instead of this process. It must "
        "scrape at least once per interval. User info in the URL is used to log in and never "
        "shown.",
        examples=["http://prometheus:9090"],
    )
    prometheus_token: Credential | None = Field(
        None,
        description="Bearer token for that server, in place of user info in its URL.",
        examples=["/run/secrets/prometheus-token"],
    )
    prometheus_ca: Path | None = Field(
        None,
        description="PEM file with the authorities that may have signed that server's "
        "certificate; by default those of the system.",
        examples=["/etc/nextvec/prometheus-ca.crt"],
    )
    prometheus_certificate: Path | None = Field(
        None,
        description="PEM file with the certificate by which the service logs in to that server.",
        examples=["/etc/nextvec/prometheus-client.crt"],
    )
    prometheus_key: Path | None = Field(
        None,
        description="PEM file with the key of that certificate, without a password.",
        examples=["/etc/nextvec/prometheus-client.key"],
    )
    prometheus_matchers: str = Field(
        'job="nextvec"',
        description="PromQL matchers that select the fleet's series; empty selects all.",
        examples=['job="nextvec",region="eu"'],
        json_schema_extra={"may_be_blank": True},
    )
    floor: FloorSettings = FloorSettings()
    webhooks: tuple[WebhookSettings, ...] = Field(
        (),
        max_length=16,
        description="JSON list of webhooks that receive transitions: `url`, `secret`, `name`. "
        "See [webhooks](../how-to/run-a-rollout.md#webhooks).",
        examples=[[{"url": "https://chat.example/T0/B1", "name": "chat"}]],
    )

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        url = self.prometheus_url
        if url is not None and url.credentials is not None and self.prometheus_token is not None:
            raise ValueError("prometheus_url has user info and prometheus_token is set: set one")
        if self.password is not None and self.url is not None and self.url.has_password:
            raise ValueError("url has a password and password is set: set one")
        if (self.prometheus_certificate is None) != (self.prometheus_key is None):
            raise ValueError("prometheus_certificate and prometheus_key belong together")
        return self

    @field_validator("webhooks")
    @classmethod
    def _unique_labels(cls, webhooks: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
        labels = [webhook.label for webhook in webhooks]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two webhooks are called {label}: give each a different name")
        return webhooks
