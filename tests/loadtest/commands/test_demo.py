"""`nextvec demo` runs where PyTorch is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.sources import ROOT

IMPORTS = """
import sys
import loadtest.commands.demo, model_export.commands.export
import service.commands.serve, service.commands.single_process
print(sorted({"torch", "pytest", "transformers"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_neither_the_demo_nor_the_export_nor_the_service_imports_pytorch():
    """In an environment that has it: what is imported here would be missing there."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "[]" == done.stdout.strip()
