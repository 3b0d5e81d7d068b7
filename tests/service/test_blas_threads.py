"""`nextvec serve` computes with one thread of OpenBLAS, in all of its processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = "import os, {module}; print(len(os.listdir('/proc/self/task')))"


def threads(module, number=None):
    """How many threads a process has that has imported `module`, with this many for OpenBLAS."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    if number is not None:
        environment["OPENBLAS_NUM_THREADS"] = str(number)
    script = SCRIPT.format(module=module)
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "module", ["service.commands.single_process", "loadtest.bench.echo_engine"]
)
def test_a_server_starts_no_thread_of_openblas_unless_it_is_told_to(module):
    assert threads(module, 1) == threads(module)
    assert threads(module, 4) > threads(module)
