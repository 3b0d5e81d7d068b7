"""What the kernels need of the CUDA driver: one device, its memory, its streams.

Beside `compiler` the only module that imports `cuda.bindings`, NVIDIA's own Python
binding, which is an extra of this package: import it only where CUDA is asked for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from cuda.bindings import driver
from numpy.typing import NDArray


class CudaError(Exception):
    """The driver refused a call, or there is none."""


def check(answer: tuple[Any, ...]) -> Any:
    """What a call returned beside its status. Raises `CudaError`."""
    status, *values = answer
    if status.value:
        raise CudaError(f"CUDA answered {status.name}")
    return values[0] if len(values) == 1 else tuple(values)


class CudaDevice:
    """The first GPU, by its primary context, which ONNX Runtime uses as well.

    Raises `CudaError` where there is no driver or no GPU.
    """

    def __init__(self) -> None:
        try:
            check(driver.cuInit(0))
        # The binding loads the driver's library by its first call, and raises what it likes.
        except Exception as error:
            raise CudaError(f"no CUDA driver answers: {error}") from error
        self._device = check(driver.cuDeviceGet(0))
        self._context = check(driver.cuDevicePrimaryCtxRetain(self._device))
        self.bind()
        attribute = driver.CUdevice_attribute
        self.multiprocessors = self._get(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        self.shared_bytes = self._get(
            attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        )
        self.cooperative = bool(self._get(attribute.CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH))
        major = self._get(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
        minor = self._get(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
        self.architecture = f"sm_{major}{minor}"

    def bind(self) -> None:
        """Make the device's context the calling thread's."""
        check(driver.cuCtxSetCurrent(self._context))

    def _get(self, attribute: Any) -> int:
        return int(check(driver.cuDeviceGetAttribute(attribute, self._device)))


class Buffer:
    """Memory on the device: `address`, and `size` in bytes. Freed with the object."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.address = 0
        self.address = int(check(driver.cuMemAlloc(size)))

    @classmethod
    def of(cls, array: NDArray[Any]) -> Buffer:
        """A buffer with a copy of `array`."""
        array = np.ascontiguousarray(array)
        buffer = cls(array.nbytes)
        check(driver.cuMemcpyHtoD(buffer.address, array.ctypes.data, array.nbytes))
        return buffer

    def __del__(self) -> None:
        if self.address:
            driver.cuMemFree(self.address)


class PinnedArray:
    """An array in host memory, of zeros at first, that the device copies from and to by itself."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        count = int(np.prod(shape))
        self.address = 0
        self.address = int(check(driver.cuMemHostAlloc(4 * count, 0)))
        memory = (ctypes.c_float * count).from_address(self.address)
        self.array: NDArray[np.float32] = np.ctypeslib.as_array(memory).reshape(shape)
        self.array.fill(0)

    def __del__(self) -> None:
        if self.address:
            driver.cuMemFreeHost(self.address)


class Stream:
    """Work in order; two streams run side by side."""

    def __init__(self) -> None:
        self._stream = check(driver.cuStreamCreate(1))  # 1: does not wait for the default one
        self._event = check(driver.cuEventCreate(2))  # 2: no times

    def to_device(self, to: int, source: int, size: int) -> None:
        """Copy `size` bytes from the host's address `source`."""
        check(driver.cuMemcpyHtoDAsync(to, source, size, self._stream))

    def to_host(self, to: int, source: int, size: int) -> None:
        """Copy `size` bytes to the host's address `to`."""
        check(driver.cuMemcpyDtoHAsync(to, source, size, self._stream))

    def copy(self, to: int, source: int, size: int) -> None:
        """Copy `size` bytes on the device."""
        check(driver.cuMemcpyDtoDAsync(to, source, size, self._stream))

    def fill(self, to: int, word: int, count: int) -> None:
        """Write `count` 32-bit words."""
        check(driver.cuMemsetD32Async(to, word, count, self._stream))

    def wait_for(self, other: Stream) -> None:
        """Go on after what `other` has been given so far."""
        check(driver.cuEventRecord(other._event, other._stream))
        check(driver.cuStreamWaitEvent(self._stream, other._event, 0))

    def launch(self, kernel: Kernel, grid: tuple[int, int]) -> None:
        """Run `kernel` with the arguments it has now, all blocks at once, or be refused."""
        check(
            driver.cuLaunchCooperativeKernel(
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
        """Wait until all is done. Raises `CudaError` for what has failed since the last wait."""
        check(driver.cuStreamSynchronize(self._stream))


class Arguments:
    """A kernel's arguments, kept where the driver reads them: set by position."""

    def __init__(self, kinds: Sequence[type[Any]]) -> None:
        self._values = [kind() for kind in kinds]
        addresses = [ctypes.addressof(value) for value in self._values]
        self._addresses = (ctypes.c_void_p * len(addresses))(*addresses)
        self.address = ctypes.addressof(self._addresses)

    def set_many(self, position: int, addresses: Sequence[int]) -> None:
        """Give arguments from `position` on their addresses."""
        for offset, address in enumerate(addresses):
            self._values[position + offset].value = address

    def set(self, position: int, value: float) -> None:
        """Give the argument at `position` its value for the next launches."""
        self._values[position].value = value


class Kernel:
    """A function of compiled code, for cooperative launches of `threads` a block."""

    def __init__(
        self, code: bytes, name: str, kinds: Sequence[type[Any]], threads: int, shared_bytes: int
    ) -> None:
        self._module = check(driver.cuModuleLoadData(code))
        self.function = check(driver.cuModuleGetFunction(self._module, name.encode()))
        attribute = driver.CUfunction_attribute
        check(
            driver.cuFuncSetAttribute(
                self.function,
                attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                shared_bytes,
            )
        )
        self.threads = threads
        self.shared_bytes = shared_bytes
        self.arguments = Arguments(kinds)
