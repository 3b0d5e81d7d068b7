"""Compiles kernels with NVRTC and caches the machine code on disk."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cuda.bindings import nvrtc
from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

from service.inference.engines.cuda.driver import CudaError, check

logger = logging.getLogger(__name__)


def cache_directory() -> Path:
    """The folder of compiled kernels: `nextvec/kernels` in the user's cache directory."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "nextvec" / "kernels"


def compile_kernel(
    name: str, architecture: str, definitions: Sequence[str], cache: Path | None = None
) -> bytes:
    """Compile `<name>.cu` in this package for `architecture` (e.g. `sm_90`).

    `definitions` are `NAME=value`. The machine code is read from `cache` (default:
    `cache_directory()`) if it is there. Its file name contains a digest of the source, the
    options and the compiler's release. If the cache cannot be read or written, the kernel
    is compiled every time. Raises `CudaError` with the compiler's log.
    """
    source, options = _read_source(name), _options(architecture, definitions)
    release = ".".join(map(str, check(nvrtc.nvrtcVersion())))
    digest = hashlib.sha256("\n".join([release, *options, ""]).encode() + source).hexdigest()
    path = (cache or cache_directory()) / f"{name}-{digest[:32]}.cubin"
    try:
        return path.read_bytes()
    except OSError:
        code = _compile(source, name, options)
    _write_to_cache(path, code)
    return code


def compile_log(name: str, architecture: str, definitions: Sequence[str]) -> str:
    """Compile the kernel and return the assembler's report: registers, shared memory, spills."""
    options = [*_options(architecture, definitions), "--ptxas-options=-v"]
    program = _compile_program(_read_source(name), name, options)
    return _log(program)


def _read_source(name: str) -> bytes:
    return (resources.files(__package__) / f"{name}.cu").read_bytes()


def _options(architecture: str, definitions: Sequence[str]) -> list[str]:
    defined = [f"-D{definition}" for definition in definitions]
    return [f"--gpu-architecture={architecture}", "--std=c++17", *defined]


@cache
def _load_builtins() -> None:
    """Load the compiler's built-ins from its own directory.

    If ONNX Runtime has preloaded the compiler, the compiler does not find them by itself.
    """
    try:
        compiler = load_nvidia_dynamic_lib("nvrtc").abs_path
    except DynamicLibNotFoundError as error:
        raise CudaError(f"NVRTC is not installed: {error}") from error
    if compiler is not None:
        for path in Path(compiler).parent.glob("libnvrtc-builtins.so*"):
            ctypes.CDLL(str(path))


def _compile_program(source: bytes, name: str, options: Sequence[str]) -> Any:
    """The compiled program. Raises `CudaError` with the compiler's log."""
    _load_builtins()
    program = check(nvrtc.nvrtcCreateProgram(source, f"{name}.cu".encode(), 0, [], []))
    status, *_ = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    if status.value:
        raise CudaError(f"{name}.cu does not compile: {_log(program)}")
    return program


def _compile(source: bytes, name: str, options: Sequence[str]) -> bytes:
    program = _compile_program(source, name, options)
    code: bytes = b" " * check(nvrtc.nvrtcGetCUBINSize(program))
    check(nvrtc.nvrtcGetCUBIN(program, code))
    nvrtc.nvrtcDestroyProgram(program)
    return code


def _log(program: object) -> str:
    log: bytes = b" " * check(nvrtc.nvrtcGetProgramLogSize(program))
    check(nvrtc.nvrtcGetProgramLog(program, log))
    return log.decode(errors="replace").strip("\0 \n")


def _write_to_cache(path: Path, code: bytes) -> None:
    """Write a temporary file and rename it, so that no other process reads half a kernel."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(code)
        Path(file.name).replace(path)
    except OSError as error:
        logger.debug("cannot cache the compiled kernel: %s", error)
