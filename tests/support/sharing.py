"""Expensive files are made once per test run, by the first worker that needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make(folder)` filled, in this process or in another worker.

    Raises what `make` raises; the next worker then tries again.
    """
    base = factory.getbasetemp()
    # Under pytest-xdist the folder of each worker is inside that of the run.
    root = base.parent if base.name.startswith("popen-") else base
    folder, done = root / name, root / f"{name}.done"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder
