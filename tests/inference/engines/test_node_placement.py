"""Nodes that ran on another provider, from ONNX Runtime's profile."""

from __future__ import annotations

import pytest

from service.inference.engines.node_placement import find_fallbacks

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def event(name, operator, provider, cat="Node"):
    return {"cat": cat, "name": name, "args": {"op_name": operator, "provider": provider}}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event("GRU_end_0_kernel_time", "GRU", CUDA)], ()),
        ([event("GRU_end_0_kernel_time", "GRU", CPU)], (f"GRU_end_0 on {CPU}",)),
        ([event("g", "FusedGemm", CPU), event("m", "MatMul", CPU)], (f"g on {CPU}", f"m on {CPU}")),
        ([event("s", "Sub", CPU), event("c", "MemcpyToHost", CUDA)], ()),
        ([event("GRU_x_kernel_time", "GRU", CPU)] * 2, (f"GRU_x on {CPU}",)),
        ([event("g", "GRU", ""), event("g", "GRU", CPU, cat="Session"), {"cat": "Node"}], ()),
        ([], ()),
    ],
)
def test_only_heavy_nodes_count(events, expected):
    """Each one once; arithmetic on lengths belongs on the CPU."""
    assert expected == find_fallbacks(events, CUDA)
