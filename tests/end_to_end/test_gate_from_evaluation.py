"""The gate from end to end: evaluate, export with the report, serve, start, override."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.resources import files

import pytest
import torch

from architectures import checkpoint
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from model_export import parity
from model_export.parity import ParityCase
from service.cli import main
from tests.support.serving import NEXTVEC, WINDOWS, serving, tokens
from tests.support.sharing import made_once


@pytest.fixture(scope="module")
def evaluated_models(tmp_path_factory):
    """Two untrained versions, evaluated in one run on the shipped sample.

    Phase-3 predicts the same direction for every input, so it is far worse.
    """
    return made_once(tmp_path_factory, "gate", _evaluate_and_export) / "models"


def _evaluate_and_export(folder):
    sources = {}
    for seed, version in enumerate(WINDOWS):
        torch.manual_seed(seed)
        sources[version] = folder / f"{version}.safetensors"
        model = MemoryAugmentedGRU()
        if version == "phase-3":
            with torch.no_grad():
                model.output_proj[3].bias += 1e4
        checkpoint.save(model, sources[version], {})
    wanted = [f"{sources[version]}:{window}" for version, window in WINDOWS.items()]
    data = ["--data", str(files("corpora") / "data" / "sample.npz"), "--pool", "60"]
    assert main(["evaluate", *wanted, *data, "--out", str(folder)]) == 0
    # The parity of a graph with its model has tests of its own.
    short = ((ParityCase.of_lengths((4, 1)),), lambda _done, _total, _text: None)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(parity.measure, "__defaults__", short)
    for version, window in WINDOWS.items():
        figures = ["--evaluation", str(folder / "report.json"), "--step-latency"]
        names = ["--version", version, "--context-window", str(window)]
        models = ["--models", str(folder / "models")]
        assert main(["export", str(sources[version]), *names, *models, *figures]) == 0
    monkeypatch.undo()


def start(server, *arguments):
    return subprocess.run(
        [NEXTVEC, "rollout", "--url", str(server.client.base_url), "start", "phase-3", *arguments],
        env={**os.environ, **tokens(), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_failed_gate_holds_the_canary_until_overridden(evaluated_models, tmp_path):
    """The refusal names every failed figure; an approver overrides it, and the log records that."""
    plan = tmp_path / "plan.json"
    gate = {"min_hit5": 0.99, "non_inferiority_margin": 0, "min_pool": 61, "max_step_p95_ms": 1e-3}
    plan.write_text(json.dumps({"gate": gate}))
    environment = {"NEXTVEC_ROLLOUT__PLAN": str(plan)}
    with serving(evaluated_models, tmp_path, "--canary", "phase-3", **environment) as server:
        refused = start(server)
        assert refused.returncode != 0
        for said in (
            "99 % required",
            "by the paired interval",
            "60 candidates",
            "ms at P95 over 500 steps",
        ):
            assert said in refused.stderr
        assert "Healthy" == server.status()["phase"]
        mute = start(server, "--override-gate")
        assert "--reason" in mute.stderr
        begun = start(server, "--override-gate", "--reason", "to see it move")
        assert begun.returncode == 0, begun.stderr
        assert "gate overridden" in begun.stdout
        status = server.wait_for("WarmingUp", "Progressing")
        # Non-inferiority is missed on both held-out sets.
        assert set(gate) == {miss["figure"] for miss in status["gate"]["missed"]}
        row = server.admin("GET", "/history").json()[-1]
        assert ("to see it move", "approver") == (row["note"], row["actor"])
        assert status["gate"]["missed"] == row["gate_missed"]


def test_a_passed_gate_lets_the_canary_start(evaluated_models, tmp_path):
    """The same versions start when the plan's gate is low enough."""
    plan = tmp_path / "plan.json"
    gate = {"non_inferiority_margin": 0.99, "min_pool": 60, "max_step_p95_ms": 60_000}
    plan.write_text(json.dumps({"gate": gate}))
    with serving(evaluated_models, tmp_path) as server:
        begun = start(server, "--plan", str(plan))
        assert begun.returncode == 0, begun.stderr
        status = server.wait_for("WarmingUp", "Progressing")
        assert {"overridden": False, "missed": []} == status["gate"]
