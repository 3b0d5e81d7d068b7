"""A replacement for the CUDA driver that runs the kernels' source on the CPU.

Device memory is host memory. A stream queues its work until `synchronise`. A launched kernel
polls for values that other streams copy, so those copies must run before it.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.inference.engines.cuda import compiler, gru_kernels
from service.inference.engines.cuda.driver import Arguments

HERE = Path(__file__).parent
SOURCES = Path(compiler.__file__).parent

_CALL = {
    "gru_wave": (
        "launch(HIDDEN / 16, layers, shared, [&] { gru_wave(F(0), F(1), F(2), F(3), F(4), F(5), "
        "F(6), F(7), I(8), I(9), *(float*)a[10], *(int**)a[11]); });"
    ),
    "gru_head": (
        "launch(blocks, 1, shared, [&] { gru_head(F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), "
        "F(8), F(9), F(10), F(11), F(12), I(13), *(float*)a[14], *(int**)a[15]); });"
    ),
}


class EmulatedDevice:
    """A device that reports the given `multiprocessors` and `shared_bytes`."""

    architecture = "emulated"
    cooperative = True

    def __init__(self, multiprocessors: int = 64, shared_bytes: int = 227 * 1024) -> None:
        self.multiprocessors = multiprocessors
        self.shared_bytes = shared_bytes

    def bind(self) -> None:
        """Do nothing: there is no context."""


class EmulatedBuffer:
    """Host memory, filled with NaN."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._memory = np.full(-(-size // 4) + 4, np.nan, np.float32)
        offset = -self._memory.ctypes.data % 16
        self.address = self._memory.ctypes.data + offset

    @classmethod
    def of(cls, array: np.ndarray[Any, Any]) -> EmulatedBuffer:
        array = np.ascontiguousarray(array)
        buffer = cls(array.nbytes)
        ctypes.memmove(buffer.address, array.ctypes.data, array.nbytes)
        return buffer


class EmulatedPinnedArray:
    """An array at a fixed address."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.array = np.zeros(shape, np.float32)
        self.address = self.array.ctypes.data


class EmulatedStream:
    """Runs its queue at `synchronise`, or when another stream waits for it.

    A copy from the host runs at once if the queue is empty, as a copy engine's would beside
    a running kernel.
    """

    def __init__(self) -> None:
        self._queue: list[Callable[[], Any]] = []

    def to_device(self, to: int, source: int, size: int) -> None:
        self._copy(to, source, size)

    def to_host(self, to: int, source: int, size: int) -> None:
        self._queue.append(lambda: ctypes.memmove(to, source, size))

    def copy(self, to: int, source: int, size: int) -> None:
        self._queue.append(lambda: ctypes.memmove(to, source, size))

    def fill(self, to: int, word: int, count: int) -> None:
        words = (ctypes.c_uint32 * count).from_address(to)
        self._queue.append(lambda: np.frombuffer(words, np.uint32).fill(word))

    def wait_for(self, other: EmulatedStream) -> None:
        other.synchronise()

    def launch(self, kernel: EmulatedKernel, grid: tuple[int, int]) -> None:
        values = kernel.arguments.copy()
        self._queue.append(lambda: kernel.run(values, grid))

    def synchronise(self) -> None:
        queue, self._queue = self._queue, []
        for work in queue:
            work()

    def _copy(self, to: int, source: int, size: int) -> None:
        if self._queue:
            self._queue.append(lambda: ctypes.memmove(to, source, size))
        else:
            ctypes.memmove(to, source, size)


class EmulatedArguments(Arguments):
    """Arguments that can be copied at the moment of a launch."""

    def copy(self) -> Any:
        self._values_at_launch = [type(value)(value.value) for value in self._values]
        return (ctypes.c_void_p * len(self._values_at_launch))(
            *map(ctypes.addressof, self._values_at_launch)
        ), self._values_at_launch


class EmulatedKernel:
    """A shared library built from the kernel's source."""

    def __init__(
        self, code: bytes, name: str, kinds: Sequence[type[Any]], threads: int, shared_bytes: int
    ) -> None:
        assert threads == 256
        self._run = ctypes.CDLL(code.decode())["run"]
        self._shared = shared_bytes
        self.arguments = EmulatedArguments(kinds)

    def run(self, values: Any, grid: tuple[int, int]) -> None:
        self._run(values[0], grid[0], grid[1], ctypes.c_size_t(self._shared))


def build(name: str, definitions: Sequence[str], folder: Path) -> bytes:
    """Compile `<name>.cu` for the CPU. Returns the path of the shared library."""
    source = (SOURCES / f"{name}.cu").read_text()
    source = source.replace(
        "extern __shared__ float4 shared[];",
        "float4* shared = running->block->shared.data();",
    ).replace("__shared__ float per_warp[WARPS];", "float* per_warp = running->block->per_warp;")
    call = (
        '\nextern "C" void run(void** a, int blocks, int layers, size_t shared) {\n'
        "  auto F = [&](int i) { return *(float**)a[i]; };\n"
        "  auto I = [&](int i) { return *(int*)a[i]; };\n"
        f"  (void)I; {_CALL[name]}\n}}\n"
    )
    key = "-".join([name, *definitions]).replace("=", "")
    path, library = folder / f"{key}.cpp", folder / f"{key}.so"
    if not library.exists():
        path.write_text('#include "cuda_emulation.h"\n' + source + call)
        compiler_path = shutil.which("g++")
        assert compiler_path is not None, "g++ is needed: apt-get install g++"
        subprocess.run(
            [compiler_path, "-O1", "-std=c++17", "-shared", "-fPIC", "-w", f"-I{HERE}"]
            + [f"-D{definition}" for definition in definitions]
            + [str(path), "-o", str(library)],
            check=True,
        )
    return str(library).encode()


def install(monkeypatch: Any, folder: Path) -> None:
    """Make `gru_kernels` use this driver."""
    for name in ("Buffer", "PinnedArray", "Stream", "Kernel"):
        monkeypatch.setattr(gru_kernels, name, globals()[f"Emulated{name}"])
    monkeypatch.setattr(
        gru_kernels,
        "compile_kernel",
        lambda name, _architecture, definitions: build(name, definitions, folder),
    )
