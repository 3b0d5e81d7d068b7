"""`nextvec serve`: settings from the environment, a few of them as options."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError

from service.api.fast_path import FastPath
from service.api.services import Services
from service.app import create_app
from service.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Every setting can be given as NEXTVEC_…; docs/reference/settings.md lists them."
    )
    parser.add_argument("--models", type=Path, help="the model repository")
    parser.add_argument("--stable", help="stable's version, until a promotion is recorded")
    parser.add_argument("--canary", help="a version to load beside it")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")


def run(args: argparse.Namespace, create: Callable[[Settings], FastAPI] = create_app) -> int:
    given = {
        name: getattr(args, name)
        for name in ("models", "stable", "canary", "host", "port")
        if getattr(args, name) is not None
    }
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SystemExit(f"nextvec serve: setting {place}: {first['msg']}") from error
    except SettingsError as error:
        raise SystemExit(
            f"nextvec serve: {error}: lists and trees are written as JSON, "
            "see docs/reference/settings.md"
        ) from error
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # A thread that renders metrics or parses JSON holds the interpreter for this long
    # before another may go on; the default of 5 ms is longer than a step takes.
    sys.setswitchinterval(0.000_5)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(create(settings), settings))
    return 0


async def _serve(app: FastAPI, settings: Settings) -> None:
    """Load first, then listen: an error on the way ends the command in its own words."""
    async with app.router.lifespan_context(app):
        # What is there now stays to the end: the collector need not walk it again
        # under requests.
        gc.collect()
        gc.freeze()
        server = _Server(app.state.services, server_config(app, settings))
        # uvicorn drains and then raises the signal again: to have been asked to
        # stop, and to have stopped, is no failure.
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, lambda *_: None)
        await server.serve()


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How `app`, whose lifespan has begun, is served."""
    return uvicorn.Config(
        app,
        http=partial(FastPath, app.state.services),  # type: ignore[arg-type]  # it is called, no more
        ws="none",
        host=settings.host,
        port=settings.port,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here asks for the caller's address
        # Requests in flight end by their own deadline; a stream of events never does.
        timeout_graceful_shutdown=int(settings.limits.timeout_seconds) + 1,
    )


class _Server(uvicorn.Server):
    """Change to stop, it first refuses new work and ends the streams of events.

    uvicorn waits for every answer to be complete, and a stream never is by itself.
    """

    def __init__(self, services: Services, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._services = services
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._services.accepting = False
        self._loop.call_soon_threadsafe(self._services.controller.close_subscriptions)
        super().handle_exit(sig, frame)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  not to be had on Windows

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
