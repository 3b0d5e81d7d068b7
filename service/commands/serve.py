"""`nextvec serve`: run the service with settings from the environment and from options."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from service.api.fast_path import FastPath
from service.api.server import Server
from service.app import create_app
from service.commands.options import ConfigOption, examples, new_app
from service.commands.rpc import serving_rpc
from service.commands.tls import CertificateLoader, certificate_loader
from service.observability.logging_setup import configure_logging
from service.settings import Settings
from service.settings.loader import load_settings

logger = logging.getLogger(__name__)

app = new_app()


@app.command(
    epilog=examples(
        "nextvec serve",
        "nextvec serve --stable phase-2 --canary phase-3 --port 9000",
        "NEXTVEC_ENGINE__DEVICE=cuda nextvec serve --models /srv/models",
        "nextvec serve --config /etc/nextvec/nextvec.toml",
    )
)
def serve(
    models: Annotated[
        Path | None, typer.Option(help="Directory of exported models (NEXTVEC_MODELS).")
    ] = None,
    stable: Annotated[
        str | None,
        typer.Option(
            help="Stable version until a promotion is recorded; the recorded one wins after that "
            "(NEXTVEC_STABLE)."
        ),
    ] = None,
    canary: Annotated[
        str | None,
        typer.Option(help="Version to load beside stable, ready for a rollout (NEXTVEC_CANARY)."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (NEXTVEC_HOST).")] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; 0 takes a free one (NEXTVEC_PORT)."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Start the prediction service.

    Options override environment variables, and these override the configuration file.
    docs/reference/settings.md lists all settings; nextvec config check tests them.
    """
    run_service(config=config, models=models, stable=stable, canary=canary, host=host, port=port)


def run_service(
    create: Callable[[Settings], FastAPI] = create_app,
    config: Path | None = None,
    **options: Path | str | int | None,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. An option that is None leaves its setting unchanged.

    Raises `ConfigurationError`, and `NextvecError` when stable cannot be served.
    """
    given = {name: value for name, value in options.items() if value is not None}
    loaded = load_settings(os.environ, config=config, options=given)
    settings = loaded.settings
    configure_logging(settings.log)
    for warning in loaded.warnings:
        logger.warning("%s", warning)
    # The engine's thread waits this long for the interpreter while the event loop is busy.
    # The default of 5 ms is longer than an engine step (ADR 23).
    sys.setswitchinterval(0.000_5)
    certificate = certificate_loader(settings.tls)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(create(settings), settings, certificate))


async def _serve(app: FastAPI, settings: Settings, certificate: CertificateLoader | None) -> None:
    """Load the versions, then listen. A failure to load is reported without a traceback."""
    async with app.router.lifespan_context(app):
        # Objects that exist now live until the end: exclude them from later
        # collections, which would otherwise delay requests.
        gc.collect()
        gc.freeze()
        server = Server(app.state.services, server_config(app, settings, certificate))
        # From here on a signal drains. uvicorn installs the same handler for a while and then
        # puts back what was there: a signal before or after that must not be lost, nor end
        # the process before the lifespan's end.
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), server.handle_exit)
        watch = None if certificate is None else asyncio.create_task(certificate.watch())
        async with serving_rpc(app.state.services, settings):
            await server.serve()
        if watch is not None:
            watch.cancel()


def server_config(
    app: FastAPI, settings: Settings, certificate: CertificateLoader | None = None
) -> uvicorn.Config:
    """Return uvicorn's configuration for `app`, whose lifespan has begun."""
    trusted = list(settings.proxy.trusted)
    return uvicorn.Config(
        app,
        http=partial(FastPath, app.state.services),  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        host=settings.host,
        port=settings.port,
        lifespan="off",
        log_config=None,
        access_log=False,
        workers=1,  # uvicorn would read WEB_CONCURRENCY
        forwarded_allow_ips=trusted,  # without it, uvicorn reads FORWARDED_ALLOW_IPS
        proxy_headers=bool(trusted),
        root_path=settings.proxy.root_path,
        ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
        timeout_keep_alive=settings.http.keep_alive_seconds,  # type: ignore[arg-type]  # any number
        # Requests in flight end at their own deadline; an event stream has none.
        timeout_graceful_shutdown=int(settings.limits.timeout_seconds) + 1,
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  not available on Windows

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
