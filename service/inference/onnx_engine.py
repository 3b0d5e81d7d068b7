"""The engine on ONNX Runtime; the only module that imports it."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import EngineFault, VersionError
from service.manifest import Dimensions, Precision

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


class OnnxEngine:
    """One version's graph in one ONNX Runtime session.

    `device` is `auto` (CUDA when it is there), `cuda` (refused when it is not
    got) or `cpu`; `threads` is the CPU's intra-op count. Raises `VersionError`
    when the file does not load, or has other inputs than the contract's, or
    CUDA was demanded and ONNX Runtime fell back.
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
        # On by default in some builds; a server tells nobody what it serves.
        ort.disable_telemetry_events()
        try:
            self._session = ort.InferenceSession(
                str(path), _options(threads), providers=_providers(device)
            )
        # ONNX Runtime's errors share no base class but Exception.
        except Exception as error:
            raise VersionError(f"{path}: ONNX Runtime cannot load it: {error}") from error
        # It falls back to the CPU without an error: ask what was really got.
        self.provider: str = self._session.get_providers()[0]
        if device == "cuda" and self.provider != CUDA:
            raise VersionError(
                f"CUDA was demanded (engine.device=cuda) and ONNX Runtime gave {self.provider}: "
                "install CUDA 13 and cuDNN 9, or set engine.device to auto or cpu"
            )
        # On a GPU runs of one session wait for each other on its stream.
        self.concurrent: bool = self.provider == CPU
        names = [tensor.name for tensor in self._session.get_inputs()]
        if names != ["vectors", "lengths", "state"]:
            raise VersionError(f"{path}: inputs are {names}, not vectors, lengths and state")

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
        except Exception as error:  # as above
            raise EngineFault(f"the engine failed: {error}") from error
        return outputs[0], outputs[1]


def _providers(device: str) -> list[str]:
    """Which providers to ask for. The GPU wheel lists CUDA on any machine; asked for
    without a driver it prints an error for each version, so `auto` looks first."""
    if device == "cpu" or CUDA not in ort.get_available_providers():
        return [CPU]
    if device == "auto" and not _driver_is_there():
        return [CPU]
    return [CUDA, CPU]


def _driver_is_there() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The cores are shared with the event loop and the other version's engine:
    # a thread that spins while it waits slows both down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Warnings name every node placed on the CPU on purpose; errors are enough.
    options.log_severity_level = 3
    return options
