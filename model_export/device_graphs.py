"""The graphs for a GPU: whole contexts in fp16, and steps over states kept on the device."""

from __future__ import annotations

from pathlib import Path

from architectures.model_weights import ModelWeights
from corpora.sample import load_vectors
from model_export import gru_graph, gru_step_graph, session_drift
from service.inference.engines.device_engine import DeviceEngine
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import OnnxEngine
from service.inference.engines.onnx_pool import open_pool
from service.inference.engines.state_pool import MIN_SLOTS, StatePool
from service.manifest import MODEL_FP16, STATE_READ, STATE_WRITE, STEP_POOLED


def write(model: ModelWeights, directory: Path, exact: Engine) -> Engine:
    """Write the graphs into `directory`, and compare the fp32 step with `exact`.

    Returns an engine for the fp16 graphs. On the CPU it multiplies rounded weights and operands
    and sums in fp32. Raises `ParityError` if the fp32 step differs from `exact`.
    """
    built = {
        MODEL_FP16: gru_graph.build(model, half=True),
        STATE_READ: gru_step_graph.build_read(),
        STATE_WRITE: gru_step_graph.build_write(),
        **{
            file: gru_step_graph.build(model, precision, pooled=True)
            for precision, file in STEP_POOLED.items()
        },
    }
    for name, proto in built.items():
        (directory / name).write_bytes(gru_graph.serialise(proto))
    session_drift.check_equal(
        exact, _open_pooled(exact, directory / STEP_POOLED["fp32"]), load_vectors()
    )
    half = OnnxEngine(directory / MODEL_FP16, exact.dimensions, precision="fp16")
    return _open_pooled(half, directory / STEP_POOLED["fp16"])


def _open_pooled(full: Engine, step: Path) -> Engine:
    pool = open_pool(step, full.dimensions, full.provider, MIN_SLOTS)
    return DeviceEngine(full, StatePool(pool))
