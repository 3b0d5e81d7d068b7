"""An engine that costs nothing, to measure the service without one.

As a server, in one process or with workers, with options and settings of `nextvec serve`:

    python -m loadtest.bench.echo_engine --models MODELS
"""

from __future__ import annotations

# Before numpy, as in `nextvec serve`.
from service import blas_threads  # noqa: F401

# isort: split
import argparse
import sys

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

from service.app import create_app
from service.commands.serve import run_service
from service.inference.repository import VersionFiles
from service.manifest import Precision
from service.settings import Settings
from service.workers import engine_process

ENGINE_PROCESS = "--engine-process"
_SERVE_OPTIONS = ("models", "stable", "canary", "host", "port")


class EchoEngine:
    """Returns its input at once."""

    provider = "none"
    precision: Precision = "fp32"
    concurrent = True

    def __init__(self, files: VersionFiles) -> None:
        self.dimensions = files.manifest.dimensions

    def run(
        self,
        vectors: NDArray[np.float32],
        _lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return vectors[-1].copy(), state.copy()


def _create(settings: Settings) -> FastAPI:
    return create_app(settings, make_engine=EchoEngine)


def main() -> None:
    """Serve, or be the engine process of such a server."""
    if ENGINE_PROCESS in sys.argv:
        engine_process.main(_create)
        return
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.echo_engine")
    for name in _SERVE_OPTIONS:
        parser.add_argument(f"--{name}")
    options = vars(parser.parse_args())
    run_service(_create, engine_command=("loadtest.bench.echo_engine", ENGINE_PROCESS), **options)


if __name__ == "__main__":
    main()
