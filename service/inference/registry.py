"""The loaded versions, each with its manifest and its scheduler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

import numpy as np

from service.errors import NotFound, VersionError, quoted
from service.inference.engines.engine import Engine
from service.inference.repository import Repository, VersionFiles
from service.inference.scheduling.scheduler import Scheduler
from service.manifest import Manifest, Precision

logger = logging.getLogger(__name__)

WARM_UP_STEPS = 8


@dataclass(frozen=True)
class LoadedVersion:
    """A version that is ready to serve.

    `precision` is that of a single step, `step_precisions` those of larger batches too, where they
    were chosen by size.
    """

    manifest: Manifest
    provider: str
    precision: Precision
    scheduler: Scheduler
    step_precisions: Mapping[int, Precision] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Digest of all graphs. A version exported again under its name has another one."""
        files = sorted(self.manifest.files.items())
        return sha256("\n".join(f"{name} {digest}" for name, digest in files).encode()).hexdigest()


class Registry:
    """Loads and unloads versions. All of them take vectors of the same width.

    `make_engine` loads a graph, and `make_scheduler(engine, version)` makes its scheduler.
    `history_vectors` is the longest context window that can be served. `show` is called with
    the loaded versions whenever they change. `drain_seconds` is the longest that an unload waits
    for requests.
    """

    def __init__(
        self,
        repository: Repository,
        make_engine: Callable[[VersionFiles], Engine],
        make_scheduler: Callable[[Engine, str], Scheduler],
        history_vectors: int,
        show: Callable[[Sequence[LoadedVersion]], None] = lambda _loaded: None,
        drain_seconds: float = 10.0,
    ) -> None:
        self._drain_seconds = drain_seconds
        self._show = show
        self._repository = repository
        self._make_engine = make_engine
        self._make_scheduler = make_scheduler
        self._history_vectors = history_vectors
        self._loaded: dict[str, LoadedVersion] = {}
        self._loading = asyncio.Lock()

    def get(self, version: str) -> LoadedVersion:
        """The loaded version. Raises `NotFound`."""
        try:
            return self._loaded[version]
        except KeyError:
            raise NotFound(
                f"version {quoted(version)} is not loaded", code="version_not_found"
            ) from None

    @property
    def loaded(self) -> tuple[LoadedVersion, ...]:
        return tuple(self._loaded.values())

    def digests(self) -> dict[str, str]:
        """The loaded versions, each with the digest of its graphs."""
        return {version: loaded.digest for version, loaded in self._loaded.items()}

    def available(self) -> set[str]:
        """The names of the versions on disk."""
        return set(self._repository.versions())

    async def manifest(self, version: str) -> Manifest:
        """The version's manifest, from memory if it is loaded, else from its file.

        Raises `NotFound` or `VersionError`.
        """
        if version in self._loaded:
            return self._loaded[version].manifest
        return await asyncio.to_thread(self._repository.manifest, version)

    async def prepare(self, version: str) -> None:
        """Load the version and warm it up, unless it is loaded.

        Raises `NotFound`, or `VersionError` if a digest or a shape is wrong.
        """
        async with self._loading:
            if version in self._loaded:
                return
            files = await asyncio.to_thread(self._repository.open, version)
            self._check(files.manifest)
            try:
                engine = await asyncio.to_thread(self._load, files)
            except Exception as error:
                # Out of memory, a graph whose sizes differ from its manifest, …
                raise VersionError(f"{version} cannot be loaded: {error}") from error
            scheduler = self._make_scheduler(engine, version)
            scheduler.start(version)
            self._loaded[version] = LoadedVersion(
                files.manifest,
                engine.provider,
                engine.precision,
                scheduler,
                # Only an engine of two graphs has a choice.
                getattr(engine, "step_precisions", {}),
            )
            self._show(self.loaded)
            logger.info("loaded %s on %s, steps in %s", version, engine.provider, engine.precision)

    async def unload(self, version: str) -> None:
        """Unload the version, once the requests that use it are answered.

        New requests do not find it from the start of the call. A request that takes longer
        than `drain_seconds` is refused. Raises `NotFound`.
        """
        loaded = self.get(version)
        del self._loaded[version]
        await loaded.scheduler.drain(self._drain_seconds)
        await loaded.scheduler.close()
        self._show(self.loaded)
        logger.info("unloaded %s", version)

    async def close(self) -> None:
        """Stop every scheduler."""
        for loaded in self._loaded.values():
            await loaded.scheduler.close()

    def _check(self, manifest: Manifest) -> None:
        if manifest.context_window > self._history_vectors:
            raise VersionError(
                f"{manifest.version}: its context window has {manifest.context_window} vectors, "
                f"more than a session keeps ({self._history_vectors}); "
                "raise sessions.history_vectors"
            )
        for other in self._loaded.values():
            if other.manifest.dimensions.dim != manifest.dimensions.dim:
                raise VersionError(
                    f"{manifest.version}: its vectors have {manifest.dimensions.dim} values, "
                    f"those of {other.manifest.version} have {other.manifest.dimensions.dim}"
                )

    def _load(self, files: VersionFiles) -> Engine:
        engine = self._make_engine(files)
        sizes = files.manifest.dimensions
        # The first runs allocate memory and choose kernels; callers must not wait for that.
        for time, batch in [(1, 1)] * WARM_UP_STEPS + [(64, 1), (1, 8)]:
            vectors = np.full((time, batch, sizes.dim), sizes.dim**-0.5, np.float32)
            lengths = np.full(batch, time, np.int32)
            state = np.zeros((sizes.layers, batch, sizes.hidden), np.float32)
            predicted, next_state = engine.run(vectors, lengths, state)
            if predicted.shape != (batch, sizes.dim) or next_state.shape != state.shape:
                raise VersionError(f"its outputs have shapes {predicted.shape}, {next_state.shape}")
            if not (np.isfinite(predicted).all() and np.isfinite(next_state).all()):
                raise VersionError("its outputs in the warm-up are not finite")
        return engine
