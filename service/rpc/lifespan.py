"""The gRPC server beside the HTTP server, if it is wanted and its packages are there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.api.services import Services
from service.errors import NotReady


@asynccontextmanager
async def serving_rpc(services: Services) -> AsyncIterator[None]:
    """Serve gRPC for the block, if `rpc.port` is set.

    Raises `NotReady` if the extra is not installed, or the port or certificate cannot be used.
    """
    settings = services.settings
    if settings.rpc.port is None:
        yield
        return
    try:
        from service.rpc.server import RpcServer  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"grpc", "grpc_health", "grpc_reflection"}:
            raise
        raise NotReady("rpc.port needs gRPC: pip install 'nextvec[grpc]'") from error
    server = RpcServer(services)
    await server.start()
    try:
        yield
    finally:
        await server.stop(settings.limits.timeout_seconds)
