"""`nextvec serve`: run the service with settings from the environment and from options."""

from __future__ import annotations

# Before numpy, which the other imports import.
from service import blas_threads  # noqa: F401

# isort: split
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.api.tls import certificate_loader
from service.commands.options import ConfigOption, examples, new_app
from service.observability.logging_setup import configure_logging
from service.settings import Settings
from service.settings.loader import ConfigurationError, load_settings
from service.workers.supervisor import ENGINE, number_of_workers, supervise

if TYPE_CHECKING:
    from fastapi import FastAPI

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
    http_workers: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Processes that answer HTTP; with 1, everything runs in one process "
            "(NEXTVEC_HTTP__WORKERS).",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Start the prediction service.

    Options override environment variables, and these override the configuration file.
    docs/reference/settings.md lists all settings; nextvec config check tests them.
    """
    run_service(
        config=config,
        models=models,
        stable=stable,
        canary=canary,
        host=host,
        port=port,
        http__workers=http_workers,
    )


def run_service(
    create: Callable[[Settings], FastAPI] | None = None,
    config: Path | None = None,
    engine_command: Sequence[str] | None = None,
    **options: Path | str | int | None,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. An option that is None leaves its setting unchanged.

    `create` makes the application, by default as `create_app` does. With several HTTP processes,
    the engine process runs the module and the arguments of `engine_command`, which has to make
    it as `create` does.

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
    workers = number_of_workers(settings.http.workers)
    if workers > 1:
        if engine_command is None and create is not None:
            raise ConfigurationError([f"http.workers is {workers}: this server has one process"])
        sys.exit(supervise(settings, workers, engine_command or ENGINE))
    # A parent of several processes, and a wrong setting, need none of these imports.
    from service.app import create_app  # noqa: PLC0415
    from service.commands.single_process import serve_until_stopped  # noqa: PLC0415

    serve_until_stopped((create or create_app)(settings), certificate)
