"""The factory opens the engine that the settings select."""

from __future__ import annotations

import numpy as np
import pytest

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS
from model_export import gru_graph, gru_step_graph
from model_export.parity import draw_walk
from service.errors import VersionError
from service.inference.engines.cuda import cuda_engine, driver
from service.inference.engines.engine_factory import load_engine
from service.inference.repository import VersionFiles
from service.manifest import STEP_INT8, Dimensions, Drift, PrecisionInfo, SessionHits
from service.settings import EngineSettings
from tests.support.fakes import FakeEngine, manifest_of

HITS = SessionHits(stream_sha256="0" * 64, steps=9, pool=5, seed=0, hit_at_5=0.5)
NEAR = Drift(steps=9, min_cosine=0.99999, worst_step=1, mean_cosine=1.0, provider="CPU")


@pytest.fixture(scope="module")
def files(model, graph_bytes, tmp_path_factory):
    """A version with fp32 and int8."""
    folder = tmp_path_factory.mktemp("version")
    (folder / "model.onnx").write_bytes(graph_bytes)
    (folder / STEP_INT8).write_bytes(gru_graph.serialise(gru_step_graph.build(model.weights())))
    manifest = manifest_of("phase-3", 1000, "0" * 64).model_copy(
        update={
            "dimensions": Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN),
            "precisions": {
                "fp32": PrecisionInfo(hits=HITS),
                "int8": PrecisionInfo(drift=NEAR, hits=HITS),
            },
        }
    )
    return VersionFiles(manifest, folder / "model.onnx")


@pytest.mark.parametrize(
    ("wanted", "expected"), [("auto", "int8"), ("int8", "int8"), ("fp32", "fp32")]
)
def test_the_engine_runs_in_the_chosen_precision(files, engine, wanted, expected):
    """The precision changes steps, not whole contexts. The provider is the actual one."""
    loaded = load_engine(EngineSettings(device="cpu", precision=wanted), files)
    assert ("CPUExecutionProvider", expected) == (loaded.provider, loaded.precision)
    vectors = draw_walk(np.random.default_rng(1), 4, 1)
    cold = np.zeros((LAYERS, 1, HIDDEN), np.float32)
    for length in (1, 4):
        args = vectors[:length], np.full(1, length, np.int32), cold
        same = np.array_equal(engine.run(*args)[0], loaded.run(*args)[0])
        assert same == (length > 1 or expected == "fp32")


def test_a_precision_that_is_not_carried_is_refused(files):
    with pytest.raises(VersionError, match="fp16"):
        load_engine(EngineSettings(device="cpu", precision="fp16"), files)


@pytest.mark.parametrize(("device", "expected"), [("auto", []), ("cpu", []), ("cuda", ["WARNING"])])
def test_without_a_gpu_only_who_demands_one_hears_of_the_kernels(files, caplog, device, expected):
    """`cuda` is refused by ONNX Runtime's answer; the log has what kept the kernels away."""
    settings = EngineSettings(device=device)
    if device == "cuda":
        with pytest.raises(VersionError, match=r"engine\.device is cuda"):
            load_engine(settings, files)
    else:
        assert "CPUExecutionProvider" == load_engine(settings, files).provider
    assert expected == [r.levelname for r in caplog.records if "GRU kernels" in r.message]


class _KernelEngine(FakeEngine):
    provider = "NextvecCUDA"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (EngineSettings(), "NextvecCUDA"),
        (EngineSettings(precision="fp32"), "NextvecCUDA"),
        (EngineSettings(gru_kernels=False), "CPUExecutionProvider"),
        (EngineSettings(precision="int8"), "CPUExecutionProvider"),
        (EngineSettings(device="cpu"), "CPUExecutionProvider"),
    ],
)
def test_kernels_that_hold_serve_unless_the_settings_say_otherwise(
    files, monkeypatch, settings, expected
):
    """A GPU with the driver is enough; ONNX Runtime's CUDA libraries are not needed."""
    monkeypatch.setattr(driver, "CudaDevice", lambda: None)
    monkeypatch.setattr(cuda_engine, "open_cuda_engine", lambda *_: _KernelEngine())
    assert expected == load_engine(settings, files).provider


def test_kernels_that_cannot_serve_leave_the_version_to_onnx_runtime(files, monkeypatch):
    """As on a device that is too small, or when their answers differ."""
    monkeypatch.setattr(driver, "CudaDevice", lambda: None)
    monkeypatch.setattr(cuda_engine, "open_cuda_engine", lambda *_: None)
    assert "CPUExecutionProvider" == load_engine(EngineSettings(), files).provider
