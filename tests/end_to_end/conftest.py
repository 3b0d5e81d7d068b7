"""Real versions, exported once, and servers on them."""

from __future__ import annotations

import pytest
import torch

from architectures import checkpoint
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from service.cli import main
from tests.support.serving import WINDOWS, serving
from tests.support.sharing import made_once


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Two versions of untrained models, exported by the command, with short windows."""
    return made_once(tmp_path_factory, "end-to-end", _export) / "models"


def _export(folder):
    for seed, (version, window) in enumerate(WINDOWS.items()):
        torch.manual_seed(seed)
        source = folder / f"{version}.safetensors"
        checkpoint.save(MemoryAugmentedGRU(), source, {})
        arguments = ["--version", version, "--context-window", str(window), "--no-int8"]
        assert main(["export", str(source), *arguments, "--models", str(folder / "models")]) == 0


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    """One server for the tests that leave it as it was."""
    with serving(models, tmp_path_factory.mktemp("server"), "--canary", "phase-3") as running:
        yield running


@pytest.fixture
def serve(models, tmp_path):
    """Start servers of one's own on the same state: `with serve(...) as server`."""

    def start(*arguments, models=models, **environment):
        return serving(models, tmp_path, *arguments, **environment)

    return start
