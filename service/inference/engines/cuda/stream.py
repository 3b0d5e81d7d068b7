"""A stream of work on the device.

A step is some ten calls of the driver, each of a few microseconds. NVIDIA's Python binding
releases the interpreter's lock around each of them, and the engine's thread then waits for the
lock as often, up to the switch interval while the event loop is busy. So these calls go to the
driver's library directly and keep the lock. Only the wait for the device releases it.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int, c_size_t, c_uint, c_uint64, c_void_p
from functools import cache
from typing import Any

from cuda.bindings import driver

from service.inference.engines.cuda.driver import CudaError, Kernel, check

_DEVICE, _HOST, _STREAM, _EVENT = c_uint64, c_void_p, c_void_p, c_void_p

# From cuda.h. A name with _v2 is what the header maps the plain name to.
_SIGNATURES: dict[str, list[type[Any]]] = {
    "cuMemcpyHtoDAsync_v2": [_DEVICE, _HOST, c_size_t, _STREAM],
    "cuMemcpyDtoHAsync_v2": [_HOST, _DEVICE, c_size_t, _STREAM],
    "cuMemcpyDtoDAsync_v2": [_DEVICE, _DEVICE, c_size_t, _STREAM],
    "cuMemsetD32Async": [_DEVICE, c_uint, c_size_t, _STREAM],
    "cuEventRecord": [_EVENT, _STREAM],
    "cuStreamWaitEvent": [_STREAM, _EVENT, c_uint],
    # Function; blocks x, y, z; threads x, y, z; shared bytes; stream; arguments.
    "cuLaunchCooperativeKernel": [c_void_p, *[c_uint] * 7, _STREAM, c_void_p],
}
_LIBRARY = "libcuda.so.1"


class DriverLibrary:
    """The driver's library. Its attributes are the calls of `_SIGNATURES`, which keep the lock,
    and `cuStreamSynchronize`, which releases it. All return a status, 0 for success.

    Raises `CudaError` if the library cannot be loaded or lacks a call.
    """

    def __init__(self, path: str = _LIBRARY) -> None:
        try:
            keeping, releasing = ctypes.PyDLL(path), ctypes.CDLL(path)
            for name, arguments in _SIGNATURES.items():
                call = getattr(keeping, name)
                call.argtypes, call.restype = arguments, c_int
                setattr(self, name, call)
            self.cuStreamSynchronize = releasing.cuStreamSynchronize
        except (OSError, AttributeError) as error:
            raise CudaError(f"the CUDA driver's library cannot be used: {error}") from error
        self.cuStreamSynchronize.argtypes = [_STREAM]
        self.cuStreamSynchronize.restype = c_int

    def __getattr__(self, name: str) -> Any:
        # Only for names that are not set: tells the type checker that the others exist.
        raise AttributeError(name)


@cache
def load_library() -> DriverLibrary:
    """The driver's library, loaded once. Raises `CudaError`."""
    return DriverLibrary()


class Stream:
    """Runs its work in order. Different streams run concurrently. Every call raises `CudaError`
    if the driver refuses it."""

    def __init__(self, library: DriverLibrary | None = None) -> None:
        self._library = library or load_library()
        self._stream = int(check(driver.cuStreamCreate(1)))  # CU_STREAM_NON_BLOCKING
        self._event = int(check(driver.cuEventCreate(2)))  # CU_EVENT_DISABLE_TIMING

    def to_device(self, to: int, source: int, size: int) -> None:
        """Copy `size` bytes from the host address `source` to the device address `to`."""
        _require(self._library.cuMemcpyHtoDAsync_v2(to, source, size, self._stream))

    def to_host(self, to: int, source: int, size: int) -> None:
        """Copy `size` bytes from the device address `source` to the host address `to`."""
        _require(self._library.cuMemcpyDtoHAsync_v2(to, source, size, self._stream))

    def copy(self, to: int, source: int, size: int) -> None:
        """Copy `size` bytes from one device address to another."""
        _require(self._library.cuMemcpyDtoDAsync_v2(to, source, size, self._stream))

    def fill(self, to: int, word: int, count: int) -> None:
        """Write the 32-bit `word` `count` times."""
        _require(self._library.cuMemsetD32Async(to, word, count, self._stream))

    def wait_for(self, other: Stream) -> None:
        """Let later work wait for everything that `other` has queued so far."""
        _require(self._library.cuEventRecord(other._event, other._stream))
        _require(self._library.cuStreamWaitEvent(self._stream, other._event, 0))

    def launch(self, kernel: Kernel, grid: tuple[int, int]) -> None:
        """Launch `kernel` with its current arguments, all blocks resident at once.

        Also fails if the blocks do not fit on the device together.
        """
        _require(
            self._library.cuLaunchCooperativeKernel(
                kernel.function,
                grid[0],
                grid[1],
                1,
                kernel.threads,
                1,
                1,
                kernel.shared_bytes,
                self._stream,
                kernel.arguments.address,
            )
        )

    def synchronise(self) -> None:
        """Wait for all queued work. Also fails if any of it failed."""
        _require(self._library.cuStreamSynchronize(self._stream))


def _require(status: int) -> None:
    if status:
        name = check(driver.cuGetErrorName(driver.CUresult(status)))
        raise CudaError(f"a CUDA call failed: {name.decode()}")
