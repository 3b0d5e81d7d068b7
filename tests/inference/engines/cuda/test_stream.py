"""The calls of the driver's library, against a library of the same names that runs on the CPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from service.inference.engines.cuda import stream
from service.inference.engines.cuda.driver import Arguments, CudaError
from service.inference.engines.cuda.stream import DriverLibrary, Stream

SOURCE = r"""
#include <stdint.h>
#include <string.h>
typedef uint64_t device; typedef void* handle;
int last_wait[3];
uint64_t launched[12];
int cuMemcpyHtoDAsync_v2(device to, const void* from, size_t n, handle s) { memcpy((void*)to, from, n); return s ? 0 : 400; }
int cuMemcpyDtoHAsync_v2(void* to, device from, size_t n, handle s) { memcpy(to, (void*)from, n); return s ? 0 : 400; }
int cuMemcpyDtoDAsync_v2(device to, device from, size_t n, handle s) { memcpy((void*)to, (void*)from, n); return s ? 0 : 400; }
int cuMemsetD32Async(device to, unsigned word, size_t n, handle s) { while (n--) ((uint32_t*)to)[n] = word; return s ? 0 : 400; }
int cuEventRecord(handle e, handle s) { last_wait[0] = (int)(uintptr_t)e; last_wait[1] = (int)(uintptr_t)s; return 0; }
int cuStreamWaitEvent(handle s, handle e, unsigned flags) { last_wait[2] = (int)(uintptr_t)s; return flags || (int)(uintptr_t)e != last_wait[0]; }
int cuLaunchCooperativeKernel(handle f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              unsigned shared, handle s, void** arguments) {
  uint64_t seen[] = {(uint64_t)f, gx, gy, gz, bx, by, bz, shared, (uint64_t)s,
                     *(uint64_t*)arguments[0], (uint64_t)*(int*)arguments[1]};
  memcpy(launched, seen, sizeof seen);
  return gx > 128 ? 720 : 0;
}
int cuStreamSynchronize(handle s) { return (uintptr_t)s == 13 ? 719 : 0; }
"""  # noqa: E501  C in one line a call


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(SOURCE)
    gcc = shutil.which("gcc")
    assert gcc is not None, "gcc is needed: apt-get install gcc"
    path = folder / "driver.so"
    subprocess.run([gcc, "-shared", "-fPIC", folder / "driver.c", "-o", path], check=True)
    return path


def open_stream(library, monkeypatch, number=7):
    """A stream with these handles: it and its event."""
    fake = SimpleNamespace(
        cuStreamCreate=lambda _flags: (SimpleNamespace(value=0), number),
        cuEventCreate=lambda _flags: (SimpleNamespace(value=0), number + 100),
        cuGetErrorName=lambda status: (SimpleNamespace(value=0), b"CUDA_ERROR_%d" % status),
        CUresult=int,
    )
    monkeypatch.setattr(stream, "driver", fake)
    return Stream(DriverLibrary(str(library)))


def test_copies_and_fills_move_the_bytes_they_are_told(library, monkeypatch):
    """From the host, on the device and back; the device's addresses are 64 bits wide."""
    work = open_stream(library, monkeypatch)
    host = np.arange(8, dtype=np.float32)
    device, other, back = (np.zeros(8, np.float32) for _ in range(3))
    work.to_device(device.ctypes.data, host.ctypes.data, 20)
    work.copy(other.ctypes.data, device.ctypes.data, 32)
    work.to_host(back.ctypes.data, other.ctypes.data, 32)
    assert [0, 1, 2, 3, 4, 0, 0, 0] == back.tolist()
    work.fill(device.ctypes.data, 0xFFFFFFFF, 3)
    assert [0xFFFFFFFF] * 3 + [0x40400000] == device.view(np.uint32)[:4].tolist()


def test_a_launch_passes_grid_threads_memory_stream_and_arguments(library, monkeypatch):
    """In the order of the driver's header; the arguments as pointers to their values."""
    work = open_stream(library, monkeypatch)
    arguments = Arguments([ctypes.c_void_p, ctypes.c_int])
    arguments.set_many(0, [0x7F00_0000_1234])
    arguments.set(1, 5)
    kernel = SimpleNamespace(function=99, threads=256, shared_bytes=60_000, arguments=arguments)
    work.launch(kernel, (32, 4))
    seen = (ctypes.c_uint64 * 12).in_dll(ctypes.CDLL(str(library)), "launched")
    expected = [99, 32, 4, 1, 256, 1, 1, 60_000, 7, 0x7F00_0000_1234, 5]
    assert expected == list(seen)[:11]


def test_a_stream_waits_for_what_another_was_given(library, monkeypatch):
    """The other's event is recorded on the other, and waited for on this one."""
    one, other = (open_stream(library, monkeypatch, number) for number in (7, 8))
    one.wait_for(other)
    seen = (ctypes.c_int * 3).in_dll(ctypes.CDLL(str(library)), "last_wait")
    assert [108, 8, 7] == list(seen)


def test_a_refused_call_is_an_error_with_its_name(library, monkeypatch):
    """Too many blocks for the device, and a kernel that failed while it ran."""
    work = open_stream(library, monkeypatch, number=13)
    arguments = Arguments([ctypes.c_void_p, ctypes.c_int])
    kernel = SimpleNamespace(function=99, threads=256, shared_bytes=0, arguments=arguments)
    with pytest.raises(CudaError, match="CUDA_ERROR_720"):
        work.launch(kernel, (200, 1))
    with pytest.raises(CudaError, match="CUDA_ERROR_719"):
        work.synchronise()


def test_a_library_that_is_missing_is_an_error():
    """The version is then served without the kernels."""
    with pytest.raises(CudaError, match="cannot be used"):
        DriverLibrary("/nowhere/libcuda.so.1")
