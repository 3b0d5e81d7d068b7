"""The engine on ONNX Runtime. Only this module and `onnx_pool` import it."""

from __future__ import annotations

import ctypes
import json
import sys
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import EngineFault, VersionError
from service.inference.engines.node_placement import find_fallbacks
from service.manifest import Dimensions, Precision

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


class OnnxEngine:
    """One version's graph in one ONNX Runtime session.

    `device` is `auto` (CUDA if there is one), `cuda` or `cpu`. `threads` is the number of
    intra-op threads on the CPU. Raises `VersionError` if the file does not load or has other
    inputs than `Engine.run`, or if CUDA is demanded and ONNX Runtime falls back to the CPU,
    for the whole graph or for its heavy nodes.
    """

    def __init__(
        self,
        path: Path,
        dimensions: Dimensions,
        device: str = "cpu",
        threads: int = 1,
        precision: Precision = "fp32",
    ) -> None:
        self.dimensions = dimensions
        self.precision: Precision = precision
        wanted = _requested_provider(device)
        with TemporaryDirectory() as folder:
            profile = Path(folder) / "profile" if wanted == CUDA else None
            self._session = open_session(path, wanted, threads, profile=profile)
            # ONNX Runtime falls back to the CPU without an error: ask what is really in use.
            self.provider: str = self._session.get_providers()[0]
            if device == "cuda" and self.provider != CUDA:
                raise VersionError(
                    f"engine.device is cuda, but ONNX Runtime uses {self.provider}; "
                    "install CUDA 13 and cuDNN 9, or set engine.device to auto or cpu"
                )
            names = [tensor.name for tensor in self._session.get_inputs()]
            if names != ["vectors", "lengths", "state"]:
                raise VersionError(
                    f"{path}: its inputs are {names}, not vectors, lengths and state"
                )
            if profile is not None:
                self._run_once()
                refuse_fallback(self._session, path, self.provider)
        # On a GPU, the runs of one session wait for each other on its stream.
        self.concurrent: bool = self.provider == CPU

    def run(
        self,
        vectors: NDArray[np.float32],
        lengths: NDArray[np.int32],
        state: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine.run`."""
        feeds = {"vectors": vectors, "lengths": lengths, "state": state}
        try:
            outputs: list[Any] = self._session.run(["next_vector", "next_state"], feeds)
        # ONNX Runtime's errors have no common base class but Exception.
        except Exception as error:
            raise EngineFault(f"the engine failed: {error}") from error
        return outputs[0], outputs[1]

    def _run_once(self) -> None:
        """Run a context of two vectors, so that every node of the graph runs."""
        sizes = self.dimensions
        vectors = np.full((2, 1, sizes.dim), sizes.dim**-0.5, np.float32)
        state = np.zeros((sizes.layers, 1, sizes.hidden), np.float32)
        self.run(vectors, np.array([2], np.int32), state)


@cache
def _preload_cuda() -> None:
    """Load NVIDIA's libraries from their Python packages, if these are installed.

    ONNX Runtime's CUDA provider has no run path of its own, so without this it finds only
    the libraries on the loader's path. Its prints about missing libraries are suppressed:
    `get_providers` tells what is in use.
    """
    with redirect_stdout(StringIO()):
        ort.preload_dlls()


def refuse_fallback(session: ort.InferenceSession, path: Path, provider: str) -> None:
    """End the profiling of a session that has run.

    Raises `VersionError` if heavy nodes did not run on `provider`.
    """
    events = json.loads(Path(session.end_profiling()).read_bytes())
    if nodes := find_fallbacks(events, provider):
        raise VersionError(
            f"{path}: {provider} does not run the whole graph; ONNX Runtime runs "
            f"{'; '.join(nodes)}. Set engine.device to cpu, or install the version of ONNX "
            "Runtime that this project requires"
        )


def open_session(
    path: Path,
    provider: str,
    threads: int,
    *,
    profile: Path | None = None,
    cuda_graphs: bool = False,
) -> ort.InferenceSession:
    """Open the graph in `path` on `provider`, or on the CPU if that is not available.

    With `profile`, it writes a profile to a file whose name starts so, until
    `end_profiling`. Raises `VersionError`.
    """
    # Some builds enable it by default; a server must not report what it serves.
    ort.disable_telemetry_events()
    options = _options(threads)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    providers: list[str | tuple[str, dict[str, str]]] = [CPU]
    if provider == CUDA:
        _preload_cuda()
        # TF32 rounds the operands of products to 10 bits: fp32 would no longer be exact.
        on_cuda = {"use_tf32": "0", "enable_cuda_graph": "1" if cuda_graphs else "0"}
        providers.insert(0, (CUDA, on_cuda))
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    # ONNX Runtime's errors have no common base class but Exception.
    except Exception as error:
        raise VersionError(f"{path}: ONNX Runtime cannot load it: {error}") from error
    # Otherwise a fault on the device would restart the session on the CPU silently.
    session.disable_fallback()
    return session


def _requested_provider(device: str) -> str:
    """The provider to ask for.

    The GPU wheel lists CUDA on any machine, and without a driver it prints an error for each
    version. So `auto` looks for the driver first.
    """
    if device == "cpu" or CUDA not in ort.get_available_providers():
        return CPU
    if device == "auto" and not _has_cuda_driver():
        return CPU
    return CUDA


def _has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The event loop and the other version's engine share the cores: a thread that spins
    # while it waits slows both down. But several threads of one run wait for each other
    # after each product, and waking one takes as long as its share of the product.
    spinning = "1" if threads > 1 else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.add_session_config_entry("session.force_spinning_stop", spinning)
    # Warnings name every node that is placed on the CPU on purpose.
    options.log_severity_level = 3
    return options
