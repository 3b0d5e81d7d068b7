"""Settings of connections and of HTTP itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.settings.values import FrozenModel, Seconds

Origin = Annotated[str, Field(pattern=r"^(\*|https?://[A-Za-z0-9.:\[\]_-]{1,253})$")]


class HttpSettings(FrozenModel):
    """Connections, and what proxies and browsers need to know."""

    workers: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        1,
        description="Number of processes that answer HTTP. With 1, everything runs in one process. "
        "With more, one further process has the sessions and the engines; this pays where HTTP and "
        "not the engine is the limit, on machines with several cores. `auto` takes one for every "
        "two cores. More than 1 requires Linux.",
        examples=[4],
    )
    keep_alive_seconds: Seconds = Field(
        75.0,
        le=86_400,
        description="Seconds after which an idle connection is closed. It must be longer than the "
        "idle timeout of a proxy in front, often 60 s: otherwise the proxy sends a request to a "
        "connection that is being closed.",
        examples=[620.0],
    )
    drain_seconds: float = Field(
        5.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds between SIGTERM or SIGHUP and the close of the listener. Meanwhile "
        "`/v2/health/ready` answers 503 and all requests are served, so that a load balancer can "
        "take the process out first. A second signal, or SIGINT, ends the wait.",
        examples=[15.0],
    )
    max_connections: int = Field(
        4096,
        ge=1,
        le=10**6,
        description="Maximum number of open connections; the file descriptors of the process may "
        "allow fewer. Above it, the connection that has waited longest for a request, its head or "
        "its body is closed.",
        examples=[20_000],
    )
    cors_origins: tuple[Origin, ...] = Field(
        (),
        max_length=64,
        description="Origins whose pages may call the service from a browser (CORS); `*` allows "
        "all. Without any, browsers only allow pages of the service itself.",
        examples=[["https://console.example"]],
    )
    root_path: str | None = Field(
        None,
        pattern=r"^(/[A-Za-z0-9._~-]+)+$",
        max_length=256,
        description="Path prefix under which a proxy publishes the service. The API page refers "
        "to it; requests are answered with and without it.",
        examples=["/nextvec"],
    )
