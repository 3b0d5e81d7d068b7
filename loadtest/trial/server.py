"""`nextvec serve` with one version slowed down: what a verdict is tried on.

A module of its own, started by `nextvec trial` alone: no setting of the service
reaches it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

from service.app import create_app
from service.commands import serve
from service.inference.engine import Engine
from service.inference.loading import load_engine
from service.inference.repository import VersionFiles
from service.manifest import Dimensions, Precision
from service.settings import Settings


class DelayedEngine:
    """An engine whose every run takes `factor` times as long; its answers are the same."""

    def __init__(
        self,
        engine: Engine,
        factor: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._factor = factor
        self._monotonic = monotonic
        self._sleep = sleep

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def precision(self) -> Precision:
        return self._engine.precision

    @property
    def dimensions(self) -> Dimensions:
        return self._engine.dimensions

    @property
    def concurrent(self) -> bool:
        return self._engine.concurrent

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        began = self._monotonic()
        answer = self._engine.run(vectors, lengths, state)
        self._sleep((self._factor - 1) * (self._monotonic() - began))
        return answer


def main(argv: Sequence[str] | None = None) -> int:
    """The command: `serve`'s options, and which version is slowed by how much."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.trial.server")
    parser.add_argument("--slow", required=True, help="the version to slow down")
    parser.add_argument("--factor", type=float, required=True, help="how many times as long")
    serve.add_arguments(parser)
    args = parser.parse_args(argv)
    return serve.run(args, partial(_create, args.slow, args.factor))


def _create(slow: str, factor: float, settings: Settings) -> FastAPI:
    def make_engine(files: VersionFiles) -> Engine:
        engine = load_engine(settings.engine, files)
        return DelayedEngine(engine, factor) if files.manifest.version == slow else engine

    return create_app(settings, make_engine=make_engine)


if __name__ == "__main__":
    raise SystemExit(main())
