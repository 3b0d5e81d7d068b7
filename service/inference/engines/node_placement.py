"""Finds the nodes of a graph that ONNX Runtime ran on another provider, from its profile.

A node without a kernel for the device runs on the CPU, at most with a warning, and its data
is copied there and back. The results are right, but the speed is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_HEAVY = ("GRU", "Gemm", "MatMul")
"""The operators that take the time. Arithmetic on shapes and lengths belongs on the CPU."""


def find_fallbacks(profile: Iterable[Mapping[str, Any]], provider: str) -> tuple[str, ...]:
    """Descriptions of the heavy nodes that did not run on `provider`.

    `profile` is the list of events that ONNX Runtime writes; events of kernels have the
    operator and the provider among their arguments.
    """
    fallbacks = {}
    for event in profile:
        arguments = event.get("args", {})
        operator, where = arguments.get("op_name"), arguments.get("provider")
        heavy = isinstance(operator, str) and any(name in operator for name in _HEAVY)
        if event.get("cat") == "Node" and heavy and where and where != provider:
            name = str(event.get("name", operator)).removesuffix("_kernel_time")
            fallbacks[name] = f"{name} on {where}"
    return tuple(fallbacks.values())
