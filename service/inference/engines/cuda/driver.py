"""A thin wrapper of the CUDA driver: one device, its memory, its kernels.

Only this module, `stream` and `compiler` import `cuda.bindings`, NVIDIA's Python binding. It comes
with the extra `cuda`, so import these modules only when CUDA is requested.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from cuda.bindings import driver
from numpy.typing import NDArray


class CudaError(Exception):
    """A call of the driver failed, or no driver is installed."""


def check(result: tuple[Any, ...]) -> Any:
    """The values that a call returned with its status. Raises `CudaError` if the call failed."""
    status, *values = result
    if status.value:
        raise CudaError(f"a CUDA call failed: {status.name}")
    return values[0] if len(values) == 1 else tuple(values)


class CudaDevice:
    """The first GPU. It uses the primary context, which ONNX Runtime uses as well.

    Raises `CudaError` if there is no driver or no GPU.
    """

    def __init__(self) -> None:
        try:
            check(driver.cuInit(0))
        # The first call loads the driver's library and may raise any exception.
        except Exception as error:
            raise CudaError(f"the CUDA driver cannot be loaded: {error}") from error
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
        """Make the device's context current in the calling thread."""
        check(driver.cuCtxSetCurrent(self._context))

    def _get(self, attribute: Any) -> int:
        return int(check(driver.cuDeviceGetAttribute(attribute, self._device)))


class Buffer:
    """`size` bytes of device memory at `address`. Freed with the object."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.address = 0
        self.address = int(check(driver.cuMemAlloc(size)))

    @classmethod
    def of(cls, array: NDArray[Any]) -> Buffer:
        """A buffer that holds a copy of `array`."""
        array = np.ascontiguousarray(array)
        buffer = cls(array.nbytes)
        check(driver.cuMemcpyHtoD(buffer.address, array.ctypes.data, array.nbytes))
        return buffer

    def __del__(self) -> None:
        if self.address:
            driver.cuMemFree(self.address)


class PinnedArray:
    """A float32 array of zeros in page-locked host memory, for asynchronous copies."""

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


class Arguments:
    """A kernel's arguments in the memory from which the driver reads them."""

    def __init__(self, kinds: Sequence[type[Any]]) -> None:
        self._values = [kind() for kind in kinds]
        addresses = [ctypes.addressof(value) for value in self._values]
        self._addresses = (ctypes.c_void_p * len(addresses))(*addresses)
        self.address = ctypes.addressof(self._addresses)

    def set_many(self, position: int, addresses: Sequence[int]) -> None:
        """Set consecutive arguments, from `position` on, to `addresses`."""
        for offset, address in enumerate(addresses):
            self._values[position + offset].value = address

    def set(self, position: int, value: float) -> None:
        """Set the argument at `position` for later launches."""
        self._values[position].value = value


class Kernel:
    """A compiled kernel for cooperative launches with `threads` threads per block."""

    def __init__(
        self, code: bytes, name: str, kinds: Sequence[type[Any]], threads: int, shared_bytes: int
    ) -> None:
        self._module = check(driver.cuModuleLoadData(code))
        function = check(driver.cuModuleGetFunction(self._module, name.encode()))
        attribute = driver.CUfunction_attribute
        check(
            driver.cuFuncSetAttribute(
                function,
                attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                shared_bytes,
            )
        )
        self.function = int(function)
        self.threads = threads
        self.shared_bytes = shared_bytes
        self.arguments = Arguments(kinds)
