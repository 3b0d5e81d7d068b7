"""The kernels compile for every architecture that ONNX Runtime's CUDA build serves."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from service.inference.engines.cuda import compiler
from service.inference.engines.cuda.driver import CudaError

pytestmark = pytest.mark.slow

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
DEFINITIONS = ("DIM=768", "HIDDEN=512", "SLOTS=2048", "EXPANDED=1024", "CARRIED=1")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["gru_wave", "gru_head"])
def test_one_row_keeps_its_weights_in_registers(name, architecture):
    """Weights fill 192 of 255 registers per thread. A spill would add reads to every step."""
    assert 24 >= max(_spills(compiler.compile_log(name, architecture, [*DEFINITIONS, "NB=1"])))


@pytest.mark.parametrize(("rows", "bound"), [(2, 32), (4, 160)])
def test_several_rows_spill_little(rows, bound):
    """Spilling a few bytes per thread costs less than a second launch."""
    log = compiler.compile_log("gru_wave", "sm_90", [*DEFINITIONS, f"NB={rows}"])
    assert bound >= max(_spills(log))


def test_compiled_code_is_cached(tmp_path, monkeypatch):
    """A second compilation reads the cache, which has a file for each set of definitions."""
    code = compiler.compile_kernel("gru_head", "sm_90", [*DEFINITIONS, "NB=1"], tmp_path)
    assert b"\x7fELF" == code[:4]
    compiler.compile_kernel("gru_head", "sm_90", [*DEFINITIONS, "NB=2"], tmp_path)
    assert 2 == len(list(tmp_path.iterdir()))
    monkeypatch.setattr(compiler, "_compile", None)
    assert code == compiler.compile_kernel("gru_head", "sm_90", [*DEFINITIONS, "NB=1"], tmp_path)


def test_a_cache_that_cannot_be_written_does_not_prevent_compilation(tmp_path):
    """The service also runs on a read-only file system."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert compiler.compile_kernel("gru_head", "sm_90", [*DEFINITIONS, "NB=1"], blocked)


def test_a_compilation_error_contains_the_compiler_log(tmp_path):
    """The log names the missing definition."""
    with pytest.raises(CudaError, match="DIM"):
        compiler.compile_kernel("gru_head", "sm_90", ["NB=1"], tmp_path)


def _spills(log: str) -> tuple[int, int]:
    match = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert match is not None, log
    return int(match[1]), int(match[2])


def test_the_kernels_compile_after_onnx_runtime_has_loaded_the_compiler():
    """In a process of its own: what is loaded first decides where the rest is looked for."""
    program = (
        "import onnxruntime; onnxruntime.preload_dlls()\n"
        "from service.inference.engines.cuda import compiler\n"
        f"compiler.compile_log('gru_head', 'sm_90', {[*DEFINITIONS, 'NB=1']!r})"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
