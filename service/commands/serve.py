"""`nextvec serve`: settings from the environment, a few of them as options."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import uvicorn
from pydantic import ValidationError

from service.app import create_app
from service.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Every setting can be given as NEXTVEC_…; docs/settings.md lists them."
    parser.add_argument("--models", type=Path, help="the model repository")
    parser.add_argument("--stable", help="stable's version, until a promotion is recorded")
    parser.add_argument("--canary", help="a version to load beside it")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")


def run(args: argparse.Namespace) -> int:
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
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            # Requests in flight end by their own deadline; a stream of events never does.
            timeout_graceful_shutdown=max(1, int(settings.limits.timeout_seconds) + 1),
        )
    )
    server.run()
    return 0 if server.started else 1
