"""`nextvec serve` with one version slowed down or with noise on its predictions.

Only `nextvec trial` starts it. No setting of the service can reach it.
"""

from __future__ import annotations

# Before numpy, as in `nextvec serve`.
from service import blas_threads  # noqa: F401

# isort: split
import argparse
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

from service.app import create_app
from service.commands.serve import run_service
from service.inference.engines.engine import Engine
from service.inference.engines.engine_factory import load_engine
from service.inference.repository import VersionFiles
from service.manifest import Dimensions, Precision
from service.settings import Settings

SERVE_OPTIONS = ("models", "stable", "canary", "host", "port")
"""Options of `nextvec serve` that this server takes as well."""


class _EngineWrapper:
    """Delegates everything but `run` to another engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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


class DelayedEngine(_EngineWrapper):
    """An engine whose runs take `factor` times as long. Its results are unchanged."""

    def __init__(
        self,
        engine: Engine,
        factor: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(engine)
        self._factor = factor
        self._monotonic = monotonic
        self._sleep = sleep

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        begin = self._monotonic()
        result = self._engine.run(vectors, lengths, state)
        self._sleep((self._factor - 1) * (self._monotonic() - begin))
        return result


class NoisyEngine(_EngineWrapper):
    """An engine that adds a random vector to each prediction. Its states are unchanged.

    `noise` is the length of the added vector; the sum is normalised. At 1 the cosine with
    the original prediction is 0.71.
    """

    def __init__(self, engine: Engine, noise: float, seed: int = 0) -> None:
        super().__init__(engine)
        self._noise = noise
        self._rng = np.random.default_rng(seed)
        # Two threads run a concurrent engine.
        self._lock = threading.Lock()

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        predicted, after = self._engine.run(vectors, lengths, state)
        with self._lock:
            drawn = self._rng.standard_normal(predicted.shape, np.float32)
        drawn *= self._noise / np.linalg.norm(drawn, axis=1, keepdims=True)
        drawn += predicted
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True), after


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server with the options of `nextvec serve` and the degradation."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.trial.degraded_server")
    parser.add_argument("--slow", help="the version to slow down")
    parser.add_argument(
        "--factor", type=float, default=1.0, help="duration of its runs, as a multiple"
    )
    parser.add_argument("--noisy", help="the version to add noise to")
    parser.add_argument("--noise", type=float, default=0.0, help="length of the added vector")
    served = [parser.add_argument(f"--{name}").dest for name in SERVE_OPTIONS]
    args = parser.parse_args(argv)
    run_service(partial(_create, args), **{name: getattr(args, name) for name in served})
    return 0


def _create(args: argparse.Namespace, settings: Settings) -> FastAPI:
    def make_engine(files: VersionFiles) -> Engine:
        engine = load_engine(settings.engine, files)
        if files.manifest.version == args.slow:
            engine = DelayedEngine(engine, args.factor)
        if files.manifest.version == args.noisy:
            engine = NoisyEngine(engine, args.noise)
        return engine

    return create_app(settings, make_engine=make_engine)


if __name__ == "__main__":
    raise SystemExit(main())
