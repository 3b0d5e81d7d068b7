"""Settings of gRPC."""

from __future__ import annotations

from pydantic import Field

from service.settings.values import FrozenModel


class RpcSettings(FrozenModel):
    """The Open Inference Protocol over gRPC; needs `pip install 'nextvec[grpc]'`."""

    port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="Port of the gRPC server on the service's `host`; 0 for any free one. Without "
        "it there is no gRPC server. It uses the certificate and the API keys of HTTP.",
        examples=[8001],
    )
    reflection: bool = Field(
        default=True,
        description="Whether clients such as grpcurl may ask for the protocol's description.",
        examples=[False],
    )
    max_streams: int = Field(
        256,
        ge=1,
        le=100_000,
        description="Maximum number of calls in progress on one connection.",
        examples=[1000],
    )
