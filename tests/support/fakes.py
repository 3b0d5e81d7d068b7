"""Fakes: a clock that is set by hand, and an engine whose predictions are easy to compute."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from service.errors import EngineFault
from service.manifest import Dimensions, Manifest, Parity, sha256

DIM = 4
TOKENS = {role: f"{role}-token-of-the-tests" for role in ("viewer", "operator", "approver")}
DIMENSIONS = Dimensions(dim=DIM, layers=1, hidden=DIM)


class FakeClock:
    """A clock that stands still until `advance` is called."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeEngine:
    """An engine whose state is a decayed sum of its vectors and whose prediction is its direction.

    A prediction depends on every vector and on their order, and running in pieces
    equals running in one pass. While `gate` is cleared every run waits; while
    `prefill_gate` is cleared, runs of more than one vector wait. Each of the next runs
    raises one of `faults`. With `poison` the prediction is NaN.
    """

    provider = "CPUExecutionProvider"
    precision = "fp32"
    dimensions = DIMENSIONS

    def __init__(self, decay: float = 0.5, *, concurrent: bool = False) -> None:
        self.decay = decay
        self.concurrent = concurrent
        self.prefill_gate = threading.Event()
        self.prefill_gate.set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.faults: list[Exception] = []
        self.poison = False
        self.batches: list[list[int]] = []

    def run(self, vectors, lengths, state):
        self.batches.append([int(length) for length in lengths])
        self.entered.release()
        assert self.gate.wait(timeout=10)
        assert lengths.max() == 1 or self.prefill_gate.wait(timeout=10)
        if self.faults:
            raise self.faults.pop(0)
        state = state.copy()
        for column, length in enumerate(lengths):
            for row in vectors[:length, column]:
                state[0, column] = self.decay * state[0, column] + row
        predicted = state[0] / np.linalg.norm(state[0], axis=-1, keepdims=True)
        if self.poison:
            predicted = predicted * np.nan
        return predicted.astype(np.float32), state

    def expected(self, vectors):
        """The prediction after `vectors` `[n, dim]` from a zero state."""
        lengths = np.array([len(vectors)], np.int32)
        return FakeEngine(self.decay).run(
            vectors[:, None], lengths, np.zeros((1, 1, DIM), np.float32)
        )[0][0]


def fault() -> EngineFault:
    return EngineFault("out of memory")


def unit_vectors(count: int, seed: int = 0, dim: int = DIM):
    """`[count, dim]` random unit vectors, float32."""
    drawn = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def manifest_of(version: str, window: int, digest: str, policy: str = "exact", **more) -> Manifest:
    """A manifest for a graph with that digest and the fake engine's dimensions."""
    return Manifest(
        model="next-vector",
        version=version,
        architecture="fake",
        dimensions=DIMENSIONS,
        context_window=window,
        window_policy=policy,
        precision="fp32",
        parameters=1,
        opset=20,
        files={"model.onnx": digest},
        source_sha256="0" * 64,
        parity=Parity(bound=1e-5, max_abs_difference=0.0, cases=()),
        tools={},
        **more,
    )


def evaluated(hit5: float, low: float, high: float, window: int = 8, **pool) -> dict:
    """An evaluation in the manifest of `manifest_of`, in the form that earlier exports wrote."""
    figure = {"value": hit5, "low": low, "high": high}
    shared = {"kind": "random", "size": 1000, "seed": 0, "set": "eras", "digest": "e" * 64}
    return {
        "data": {"sha256": "d" * 64},
        "interval": "95 %",
        "set": "eras",
        "pool": {**shared, **pool},
        "score": {
            "name": "a version",
            "kind": "model",
            "window": window,
            "checkpoint_sha256": "0" * 64,
            "hit_at_5": figure,
        },
        "baselines": [],
        "differences": [],
        "other_sets": [],
    }


def put_version(models: Path, version: str, window: int = 8, policy: str = "exact", **more) -> Path:
    """Write a version to the repository `models`; its graph file is a few bytes.

    `more` are further fields of the manifest.
    """
    folder = models / "next-vector" / version
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(version.encode())
    manifest = manifest_of(version, window, sha256(folder / "model.onnx"), policy, **more)
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder
