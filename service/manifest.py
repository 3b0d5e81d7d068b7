"""`manifest.json`: what a version contains, its source, and the checks it passed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Precision = Literal["fp32", "int8", "fp16"]

NAME = "manifest.json"
MODEL = "model.onnx"
STEP_INT8 = "step-int8.onnx"
"""One step with 8-bit weights, for the CPU; in versions with the precision `int8`."""
MODEL_FP16 = "model-fp16.onnx"
STEP_POOLED: dict[Precision, str] = {"fp32": "step-fp32.onnx", "fp16": "step-fp16.onnx"}
"""One step over states kept on the device, for CUDA; in versions exported with `--fp16`."""
STATE_READ = "state-read.onnx"
STATE_WRITE = "state-write.onnx"

NEAR = 0.9999
"""The smallest cosine with fp32 at which a precision is selected automatically."""


class _ManifestModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dimensions(_ManifestModel):
    """The sizes of the graph's tensors."""

    dim: PositiveInt
    layers: PositiveInt
    hidden: PositiveInt


class ParityResult(_ManifestModel):
    """One comparison of the graph with its network."""

    batch: PositiveInt
    length: PositiveInt = Field(description="vectors in total, of the longest row if ragged")
    pieces: tuple[PositiveInt, ...] = Field(description="lengths of the consecutive pieces")
    ragged: bool = Field(default=False, description="whether the rows differ in length")
    max_abs_difference: float = Field(ge=0)


class Parity(_ManifestModel):
    """The largest difference from the network, and the permitted one."""

    bound: float
    max_abs_difference: float = Field(ge=0)
    cases: tuple[ParityResult, ...]


class Drift(_ManifestModel):
    """Cosines of a session's predictions with fp32's, with the state carried over `steps`."""

    steps: PositiveInt
    min_cosine: float = Field(ge=-1, le=1.001)
    worst_step: PositiveInt = Field(description="the step with the smallest cosine, from 1")
    mean_cosine: float = Field(ge=-1, le=1.001)
    provider: str = Field(description="the execution provider it was measured on")


class SessionHits(_ManifestModel):
    """Hit@5 of one session over a stream, with the state carried over all `steps`.

    The pool is `pool` random positions of the stream; they are both targets and candidates.
    """

    stream_sha256: str = Field(description="SHA-256 of the stream's vectors in float32")
    steps: PositiveInt
    pool: PositiveInt
    seed: int
    hit_at_5: float = Field(ge=0, le=1)


class PrecisionInfo(_ManifestModel):
    """A precision of a version. fp32 has no drift: it is the reference for the others.

    `context_cosine` compares one context of a whole window with fp32, if whole contexts run in
    this precision.
    """

    drift: Drift | None = None
    context_cosine: float | None = Field(default=None, ge=-1, le=1.001)
    hits: SessionHits


class StepLatency(_ManifestModel):
    """The latency of one step, batch 1, on the machine of the export."""

    steps: PositiveInt
    p50_ms: float = Field(gt=0, allow_inf_nan=False)
    p95_ms: float = Field(gt=0, allow_inf_nan=False)
    precision: Precision
    provider: str
    machine: str


class Manifest(_ManifestModel):
    """Schema 1. Unknown keys are refused, so that a misspelt key does not become a default.

    `evaluation` is an `EvaluationReport`. It is validated when it is read, so that a version with
    a report of another schema can still be served.
    """

    schema_version: Literal[1] = 1
    model: str
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    architecture: str
    dimensions: Dimensions
    context_window: PositiveInt
    window_policy: Literal["exact", "anchored"]
    precision: Literal["fp32", "fp16", "int8"]
    parameters: PositiveInt
    opset: PositiveInt
    files: dict[str, str] = Field(description="file name -> SHA-256, hexadecimal")
    source_sha256: str = Field(description="SHA-256 of the exported checkpoint")
    parity: Parity
    step_latency: StepLatency | None = None
    precisions: dict[Precision, PrecisionInfo] = Field(
        default={}, description="always has `fp32`, except in old exports"
    )
    evaluation: dict[str, object] | None = None
    tools: dict[str, str] = Field(description="name -> version of the tools of the export")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal; reads it in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
