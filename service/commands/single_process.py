"""The whole service in this process: it loads the versions and then listens."""

from __future__ import annotations

# Before numpy, which the other imports import.
from service import blas_threads  # noqa: F401

# isort: split
import asyncio

from fastapi import FastAPI

from service.api.server import Server, loop_factory, server_config
from service.api.tls import CertificateLoader
from service.rpc.lifespan import serving_rpc


def serve_until_stopped(app: FastAPI, certificate: CertificateLoader | None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, over HTTPS if there is a `certificate`.

    Raises `NextvecError` when stable cannot be served.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(app, certificate))


async def _serve(app: FastAPI, certificate: CertificateLoader | None) -> None:
    """Load the versions, then listen. A failure to load is reported without a traceback."""
    async with app.router.lifespan_context(app):
        services = app.state.services
        server = Server(services, server_config(app, services, certificate))
        server.begin()
        watch = None if certificate is None else asyncio.create_task(certificate.watch())
        async with serving_rpc(services):
            await server.serve()
        if watch is not None:
            watch.cancel()
