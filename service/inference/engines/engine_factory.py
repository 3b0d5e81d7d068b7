"""Makes the engine that the settings ask for from a version's files."""

from __future__ import annotations

import logging
from functools import partial

from service.inference.engines.device_engine import DeviceEngine
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import CUDA, OnnxEngine
from service.inference.engines.onnx_pool import open_pool
from service.inference.engines.precision import choose
from service.inference.engines.state_pool import StatePool
from service.inference.engines.step_engine import StepEngine
from service.inference.repository import VersionFiles
from service.manifest import MODEL_FP16, STEP_INT8, STEP_POOLED, Precision
from service.settings import EngineSettings

logger = logging.getLogger(__name__)


def load_engine(settings: EngineSettings, files: VersionFiles) -> Engine:
    """The version's engine, in the precision that suits the provider in use.

    On CUDA a Memory-Augmented GRU runs on the kernels of `service.inference.engines.cuda`,
    unless a precision other than fp32 is asked for or the kernels fail their check. Otherwise
    session states stay on the device if the version has the graphs for it. Raises
    `VersionError`.
    """
    load = partial(
        OnnxEngine,
        dimensions=files.manifest.dimensions,
        device=settings.device,
        threads=settings.intra_op_threads,
    )
    full: Engine = load(files.graph)
    if full.provider == CUDA and settings.gru_kernels and settings.precision in ("auto", "fp32"):
        engine = _open_kernels(full, files, settings.max_batch)
        if engine is not full:
            return engine
    precision = choose(files.manifest, settings.precision, full.provider)
    if precision == "int8":
        return StepEngine(full, load(files.graph.with_name(STEP_INT8), precision="int8"))
    if precision == "fp16":
        full = load(files.graph.with_name(MODEL_FP16), precision="fp16")
    if full.provider != CUDA or settings.device_states == 0:
        return full
    return with_pool(settings, files, full, precision)


def _open_kernels(full: Engine, files: VersionFiles, most_rows: int) -> Engine:
    """`full` on the GRU kernels, or `full` itself where they cannot serve it."""
    try:
        from service.inference.engines.cuda.cuda_engine import open_cuda_engine  # noqa: PLC0415  an extra
    except ImportError as error:
        logger.warning(
            "%s is served by ONNX Runtime, not by the GRU kernels: %s. Install them with "
            "pip install 'nextvec[cuda]'",
            files.graph,
            error,
        )
        return full
    return open_cuda_engine(full, files.graph, most_rows)


def with_pool(
    settings: EngineSettings, files: VersionFiles, full: Engine, precision: Precision
) -> Engine:
    """`full` with steps over states on its device, or `full` itself if the version lacks graphs."""
    step = STEP_POOLED[precision]
    if step not in files.manifest.files:
        return full
    pool = open_pool(
        files.graph.with_name(step),
        files.manifest.dimensions,
        full.provider,
        settings.device_states,
        threads=settings.intra_op_threads,
        graphs=settings.cuda_graphs,
    )
    return DeviceEngine(full, StatePool(pool))
