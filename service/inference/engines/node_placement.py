"""Which provider each node of a graph ran on, read from ONNX Runtime's profile.

A node without a kernel for the device runs on the CPU, with a warning at most
and its data copied there and back: the answers are right and the speed is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_HEAVY = ("GRU", "Gemm", "MatMul")
"""What the time goes into; arithmetic on shapes and lengths belongs on the CPU."""


def fallen_back(profile: Iterable[Mapping[str, Any]], provider: str) -> tuple[str, ...]:
    """The nodes that do the work and ran elsewhere than on `provider`: names, with where.

    `profile` is the list of events that ONNX Runtime writes; those of kernels have
    the operator and the provider among their arguments.
    """
    found = {}
    for event in profile:
        arguments = event.get("args", {})
        operator, where = arguments.get("op_name"), arguments.get("provider")
        heavy = isinstance(operator, str) and any(name in operator for name in _HEAVY)
        if event.get("cat") == "Node" and heavy and where and where != provider:
            name = str(event.get("name", operator)).removesuffix("_kernel_time")
            found[name] = f"{name} on {where}"
    return tuple(found.values())
