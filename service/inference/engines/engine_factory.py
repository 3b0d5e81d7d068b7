"""Makes the engine that the settings ask for from a version's files."""

from __future__ import annotations

import logging
from functools import partial

from service.clock import SystemClock
from service.inference.engines.device_engine import DeviceEngine
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import CUDA, OnnxEngine
from service.inference.engines.onnx_pool import open_pool
from service.inference.engines.precision import choose
from service.inference.engines.state_pool import StatePool
from service.inference.engines.step_engine import StepEngine
from service.inference.engines.step_timing import choose_precisions, time_steps
from service.inference.repository import VersionFiles
from service.manifest import MODEL_FP16, STEP_INT8, STEP_POOLED, Precision
from service.settings import EngineSettings

logger = logging.getLogger(__name__)


def load_engine(settings: EngineSettings, files: VersionFiles) -> Engine:
    """The version's engine: the fastest that the settings allow and that answers right.

    On an NVIDIA GPU a Memory-Augmented GRU runs on the kernels of `engines.cuda`. What these
    cannot serve runs on ONNX Runtime, in the precision chosen for the provider that is got; on
    CUDA the states of sessions then stay on the device, if the version has the graph for it.
    Raises `VersionError`.
    """
    if (
        settings.device != "cpu"
        and settings.gru_kernels
        and settings.precision in ("auto", "fp32")
        and (engine := open_kernels(settings, files)) is not None
    ):
        return engine
    load = partial(
        OnnxEngine,
        dimensions=files.manifest.dimensions,
        device=settings.device,
        threads=settings.intra_op_threads,
    )
    full = load(files.graph)
    precision = choose(files.manifest, settings.precision, full.provider)
    if precision == "int8":
        return _open_steps(settings, full, load(files.graph.with_name(STEP_INT8), precision="int8"))
    if precision == "fp16":
        full = load(files.graph.with_name(MODEL_FP16), precision="fp16")
    if full.provider != CUDA or settings.device_states == 0:
        return full
    return with_pool(settings, files, full, precision)


def _open_steps(settings: EngineSettings, full: Engine, step: Engine) -> Engine:
    """Steps in 8 bits; with `auto`, at the sizes of batch at which they are faster here."""
    if settings.precision != "auto":
        return StepEngine(full, step)
    times = time_steps(full, step, SystemClock())
    precisions = choose_precisions(times, step.precision)
    logger.info(
        "steps by size of batch, fp32 and 8 bits in ms: %s",
        ", ".join(
            f"{batch}: {1000 * exact:.2f} {1000 * quick:.2f} ({precisions[batch]})"
            for batch, (exact, quick) in times.items()
        ),
    )
    return StepEngine(full, step, precisions)


def open_kernels(settings: EngineSettings, files: VersionFiles) -> Engine | None:
    """The version on the GRU kernels; None where there is no GPU or they cannot serve it.

    Without a GPU nobody needs to hear of them, unless one was demanded.
    """
    level = logging.WARNING if settings.device == "cuda" else logging.DEBUG
    try:
        from service.inference.engines.cuda import cuda_engine, driver  # noqa: PLC0415  an extra
    except ImportError as error:
        logger.log(level, "no GRU kernels: %s: pip install 'nextvec[cuda]'", error)
        return None
    try:
        device = driver.CudaDevice()
    except driver.CudaError as error:
        logger.log(level, "no GRU kernels: %s", error)
        return None
    return cuda_engine.open_cuda_engine(
        device, files.graph, files.manifest.dimensions, settings.max_batch
    )


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
