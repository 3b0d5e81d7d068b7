"""The kernels compile for every architecture that ONNX Runtime's CUDA build serves."""

from __future__ import annotations

import re

import pytest

from service.inference.engines.cuda import compiler
from service.inference.engines.cuda.driver import CudaError

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
DEFINITIONS = ("DIM=768", "HIDDEN=512", "SLOTS=2048", "WIDE=1024", "CARRIED=1")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["gru_wave", "gru_head"])
def test_one_row_keeps_its_weights_in_registers(name, architecture):
    """192 of 255 registers a thread are weights; spilling them would put reads into every step."""
    assert 24 >= max(_spills(compiler.compile_log(name, architecture, [*DEFINITIONS, "NB=1"])))


@pytest.mark.parametrize(("rows", "bound"), [(2, 32), (4, 160)])
def test_several_rows_spill_little(rows, bound):
    """A few bytes a thread are dearer than none and cheaper than another launch."""
    log = compiler.compile_log("gru_wave", "sm_90", [*DEFINITIONS, f"NB={rows}"])
    assert bound >= max(_spills(log))


def test_compiled_code_is_kept(tmp_path, monkeypatch):
    """A second start reads the code from the cache, under a name of its own for each use."""
    code = compiler.compile_kernel("gru_head", "sm_90", [*DEFINITIONS, "NB=1"], tmp_path)
    assert b"\x7fELF" == code[:4]
    compiler.compile_kernel("gru_head", "sm_90", [*DEFINITIONS, "NB=2"], tmp_path)
    assert 2 == len(list(tmp_path.iterdir()))
    monkeypatch.setattr(compiler, "_compile", None)
    assert code == compiler.compile_kernel("gru_head", "sm_90", [*DEFINITIONS, "NB=1"], tmp_path)


def test_a_cache_that_cannot_be_written_costs_the_compilation_alone(tmp_path):
    """A read-only file system is no reason not to serve."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert compiler.compile_kernel("gru_head", "sm_90", [*DEFINITIONS, "NB=1"], blocked)


def test_a_source_that_does_not_compile_is_shown_with_the_log(tmp_path):
    """The compiler's words, so that a report of it can be acted on."""
    with pytest.raises(CudaError, match="DIM"):
        compiler.compile_kernel("gru_head", "sm_90", ["NB=1"], tmp_path)


def _spills(log: str) -> tuple[int, int]:
    found = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert found is not None, log
    return int(found[1]), int(found[2])
