"""From a version's files to the engine that the settings ask for."""

from __future__ import annotations

from functools import partial

from service.inference.engine import Engine
from service.inference.onnx_engine import OnnxEngine
from service.inference.precision import choose
from service.inference.repository import VersionFiles
from service.inference.step_engine import StepEngine
from service.manifest import STEP_INT8
from service.settings import Engine as EngineSettings


def load_engine(settings: EngineSettings, files: VersionFiles) -> Engine:
    """The version's engine, in the precision chosen for the provider that is got.

    Raises `VersionError`.
    """
    load = partial(
        OnnxEngine,
        dimensions=files.manifest.dimensions,
        device=settings.device,
        threads=settings.intra_op_threads,
    )
    full = load(files.graph)
    if choose(files.manifest, settings.precision, full.provider) == "int8":
        return StepEngine(full, load(files.graph.with_name(STEP_INT8), precision="int8"))
    return full
