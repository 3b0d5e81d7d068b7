"""`manifest.json`: what a version is, what it was made from, and what was checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Precision = Literal["fp32", "int8", "fp16"]

NAME = "manifest.json"
MODEL = "model.onnx"
STEP_INT8 = "step-int8.onnx"
"""One step with 8-bit weights, for the CPU; of versions that carry `int8`."""
MODEL_FP16 = "model-fp16.onnx"
STEP_POOLED: dict[Precision, str] = {"fp32": "step-fp32.onnx", "fp16": "step-fp16.onnx"}
"""One step over states kept on the device, for CUDA; of versions exported with `--fp16`."""
STATE_READ = "state-read.onnx"
STATE_WRITE = "state-write.onnx"

NEAR = 0.9999
"""The smallest cosine with fp32 at which a precision may be taken without being asked for."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dimensions(_Frozen):
    """Sizes of the graph's tensors."""

    dim: PositiveInt
    layers: PositiveInt
    hidden: PositiveInt


class ParityResult(_Frozen):
    """One comparison of the graph with PyTorch."""

    batch: PositiveInt
    length: PositiveInt = Field(description="vectors in all; of the longest row if ragged")
    pieces: tuple[PositiveInt, ...] = Field(description="lengths run one after the other")
    ragged: bool = Field(default=False, description="the rows differ in length")
    max_abs_difference: float = Field(ge=0)


class Parity(_Frozen):
    """The largest difference from PyTorch, and the bound it was held to."""

    bound: float
    max_abs_difference: float = Field(ge=0)
    cases: tuple[ParityResult, ...]


class Drift(_Frozen):
    """Cosines of a session's predictions with fp32's, its state carried over `steps`."""

    steps: PositiveInt
    min_cosine: float = Field(ge=-1, le=1.001)
    worst_step: PositiveInt = Field(description="at which the smallest was seen, from 1")
    mean_cosine: float = Field(ge=-1, le=1.001)
    provider: str = Field(description="what it was measured on")


class SessionHits(_Frozen):
    """Hit@5 of one session over a stream, its state carried: targets are a pool of its vectors.

    The pool is `pool` random positions among the `steps`, candidates both.
    """

    stream_sha256: str = Field(description="of the stream's vectors, float32")
    steps: PositiveInt
    pool: PositiveInt
    seed: int
    hit_at_5: float = Field(ge=0, le=1)


class PrecisionInfo(_Frozen):
    """A precision that a version was built for; no drift: it is what others are held against.

    `context_cosine` is that of one whole context as long as the window, where whole
    contexts run in this precision too.
    """

    drift: Drift | None = None
    context_cosine: float | None = Field(default=None, ge=-1, le=1.001)
    hits: SessionHits


class StepLatency(_Frozen):
    """One step, batch 1, on the engine and the machine of the export: on another it is another."""

    steps: PositiveInt
    p50_ms: float = Field(gt=0, allow_inf_nan=False)
    p95_ms: float = Field(gt=0, allow_inf_nan=False)
    precision: Precision
    provider: str
    machine: str


class Manifest(_Frozen):
    """Schema 1. Unknown keys are refused, so that a typo cannot pass for a default."""

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
    files: dict[str, str] = Field(description="file name -> sha256, hexadecimal")
    source_sha256: str = Field(description="of the checkpoint this was exported from")
    parity: Parity
    step_latency: StepLatency | None = None
    precisions: dict[Precision, PrecisionInfo] = Field(
        default={}, description="`fp32` always, unless the export is an old one"
    )
    evaluation: dict[str, object] | None = None
    tools: dict[str, str] = Field(description="name -> version of what made it")


def sha256(path: Path) -> str:
    """The file's digest, hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
