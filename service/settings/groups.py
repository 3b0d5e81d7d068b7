"""The groups of settings, and the tree of all of them.

`docs/reference/settings.md` is generated from the descriptions and examples here
(`python -m service.commands.settings_reference`); a test compares them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from service.settings.access import AdminSettings, CallerSettings, ProxySettings, TlsSettings
from service.settings.console import ConsoleSettings
from service.settings.fleet import FleetSettings
from service.settings.http import HttpSettings
from service.settings.rollout import RolloutSettings
from service.settings.rpc import RpcSettings
from service.settings.sessions import SessionSettings
from service.settings.telemetry import LogSettings, TracingSettings
from service.settings.values import ByteCount, FrozenModel, Seconds

VersionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class EngineSettings(FrozenModel):
    """How the engine runs a version."""

    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto",
        description="`auto` uses CUDA if it is available and the CPU otherwise; `cuda` refuses to "
        "start without CUDA.",
        examples=["cuda"],
    )
    intra_op_threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="ONNX Runtime threads of each version. Two make a single session faster and "
        "many sessions slower.",
        examples=[2],
    )
    precision: Literal["auto", "fp32", "int8", "fp16"] = Field(
        "auto",
        description="`auto` uses the fastest precision of the version for this device that stays "
        "within cosine 0.9999 of fp32 (`fp16` on CUDA; on the CPU `int8` steps, for the sizes of "
        "batch at which they are faster when the version is loaded). Any other value "
        "refuses a version without that precision.",
        examples=["fp32"],
    )
    device_states: int = Field(
        8192,
        ge=0,
        le=2**24,
        description="Session states kept on the GPU, 8 KiB each; further ones wait on the host. "
        "0 keeps all on the host; otherwise at least 128. Only for versions exported with "
        "`--fp16`.",
        examples=[16384],
    )
    cuda_graphs: bool = Field(
        default=False,
        description="On a GPU, replay each step as one CUDA graph. Disabled with an error in the "
        "log if a replay differs from a normal run.",
        examples=[True],
    )
    gru_kernels: bool = Field(
        default=True,
        description="On a GPU, run a Memory-Augmented GRU on the package's own kernels, in fp32, "
        "if their answers equal the exported graph's when the version is loaded. "
        "Set it to false to run everything on ONNX Runtime.",
        examples=[False],
    )
    max_batch: int = Field(
        32, ge=1, le=65_536, description="Maximum number of requests in one batch.", examples=[64]
    )
    prefill_chunk: int = Field(
        500,
        ge=1,
        le=10**6,
        description="Vectors of a long context that run before other requests get a turn. Also "
        "the distance between states in the prefix cache.",
        examples=[250],
    )
    queue_limit: int = Field(
        256,
        ge=1,
        le=10**6,
        description="Maximum number of requests that wait for one version; above it, 429.",
        examples=[512],
    )

    @field_validator("device_states")
    @classmethod
    def _none_or_a_full_batch(cls, states: int) -> int:
        # A full batch needs room for the states it reads and the new ones at the same time.
        if 0 < states < 128:
            raise ValueError("device_states must be 0 or at least 128")
        return states


class LimitSettings(FrozenModel):
    """What a caller may send, and how long a request may take."""

    max_rows: int = Field(
        4096,
        ge=1,
        le=10**6,
        description="Maximum number of vectors in one request.",
        examples=[1000],
    )
    max_body_bytes: ByteCount = Field(
        32 * 1024 * 1024,
        gt=0,
        description="Maximum size of a request's body, in bytes; above it, 413.",
        examples=[8 * 1024 * 1024],
    )
    max_held_bytes: ByteCount = Field(
        256 * 1024 * 1024,
        gt=0,
        description="Maximum size of all bodies in memory together, in bytes; above it, 429.",
        examples=[512 * 1024 * 1024],
    )
    timeout_seconds: Seconds = Field(
        10.0,
        le=3600,
        description="Deadline of a request, in seconds; after it, 504.",
        examples=[2.5],
    )
    body_timeout_seconds: Seconds = Field(
        30.0,
        le=3600,
        description="Seconds for the head to arrive, and then for the body. A stalled request is "
        "dropped.",
        examples=[10.0],
    )


class PrefixCacheSettings(FrozenModel):
    """The cache of states of whole contexts, which makes a resent context cheap."""

    max_bytes: ByteCount = Field(
        64 * 1024 * 1024,
        description="Memory of the prefix cache, in bytes; 0 disables it.",
        examples=[0],
    )


class FeedbackSettings(FrozenModel):
    """Predictions of `/v1/predict` that wait for a label."""

    max_bytes: ByteCount = Field(
        64 * 1024 * 1024,
        description="Memory of predictions of `/v1/predict` that wait for a label, in bytes, some "
        "4 KiB each; 0 disables `/v1/feedback`.",
        examples=[0],
    )
    ttl_seconds: Seconds = Field(
        600.0, description="Seconds that a prediction waits for its label.", examples=[60.0]
    )


class Settings(FrozenModel):
    """The tree of settings."""

    models: Path = Field(
        Path("models"),
        description="Directory of the model repository: `<models>/<model>/<version>/`.",
        examples=["/srv/models"],
    )
    model: VersionName = Field(
        "next-vector",
        description="Name of the model, in the repository and under `/v2`.",
        examples=["next-vector"],
    )
    stable: VersionName = Field(
        "phase-2",
        description="Version that is stable until a promotion is recorded.",
        examples=["phase-2"],
    )
    canary: VersionName | None = Field(
        None,
        description="Version to load beside stable, ready for a rollout.",
        examples=["phase-3"],
    )
    host: str = Field(
        "127.0.0.1",
        pattern=r"^[A-Za-z0-9_.:%-]{1,253}$",
        description="Address or host name to listen on. `0.0.0.0` listens on every IPv4 interface "
        "and `::` on every interface.",
        examples=["::"],
    )
    port: int = Field(
        8080,
        ge=0,
        le=65535,
        description="Port to listen on; 0 selects a free one.",
        examples=[9000],
    )
    engine: EngineSettings = EngineSettings()
    limits: LimitSettings = LimitSettings()
    sessions: SessionSettings = SessionSettings()
    prefix_cache: PrefixCacheSettings = PrefixCacheSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    rollout: RolloutSettings = RolloutSettings()
    fleet: FleetSettings = FleetSettings()
    admin: AdminSettings = AdminSettings()
    callers: CallerSettings = CallerSettings()
    tls: TlsSettings = TlsSettings()
    proxy: ProxySettings = ProxySettings()
    http: HttpSettings = HttpSettings()
    rpc: RpcSettings = RpcSettings()
    console: ConsoleSettings = ConsoleSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
