"""Responses of `/v2` about the server and its model: metadata, configuration, statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from service.api.codecs.tensors import INPUT, OUTPUT
from service.inference.registry import LoadedVersion
from service.usage import DurationTotal, Usage

EXTENSIONS = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "sequence",
    "sequence(string_id)",
    "statistics",
]
"""The implemented protocol extensions. The only custom parameter is `routing_key`."""


def server(version: str, loaded: Iterable[LoadedVersion]) -> dict[str, Any]:
    """Return the server metadata; `models` is not part of the protocol."""
    return {
        "name": "nextvec",
        "version": version,
        "extensions": EXTENSIONS,
        "models": [
            {
                "name": found.manifest.model,
                "version": found.manifest.version,
                "context_window": found.manifest.context_window,
                "precision": found.precision,
                "step_precisions": {str(size): p for size, p in found.step_precisions.items()},
                "provider": found.provider,
            }
            for found in loaded
        ],
    }


def metadata(model: str, loaded: Iterable[LoadedVersion], dim: int) -> dict[str, Any]:
    """Return the model metadata. A request may also omit the batch dimension: `[n, dim]`."""
    return {
        "name": model,
        "versions": sorted(found.manifest.version for found in loaded),
        "platform": "onnx_onnxv1",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, -1, dim]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, dim]}],
    }


def config(model: str, dim: int) -> dict[str, Any]:
    """Return the model's configuration as Triton's ModelConfig.

    `max_batch_size` is 0 because the batch is a dimension of the tensors.
    `sequence_batching` is absent because it would make sequences mandatory.
    """
    return {
        "name": model,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [{"name": INPUT, "data_type": "TYPE_FP32", "dims": [-1, -1, dim]}],
        "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": [-1, dim]}],
    }


def statistics(
    model: str, usage: Mapping[str, Usage], answered: Mapping[str, float]
) -> dict[str, Any]:
    """Return statistics of every version in `usage`.

    `answered` maps versions to the time of their last answer, in epoch seconds. Copying
    tensors is part of the inference and not measured separately.
    """
    nothing = _statistic(DurationTotal(0, 0.0))
    return {
        "model_stats": [
            {
                "name": model,
                "version": version,
                "last_inference": int(answered.get(version, 0) * 1e3),
                "inference_count": used.inference.count,
                "execution_count": used.runs,
                "inference_stats": {
                    "success": _statistic(used.succeeded),
                    "fail": _statistic(used.failed),
                    "queue": _statistic(used.queue),
                    "compute_input": nothing,
                    "compute_infer": _statistic(used.inference),
                    "compute_output": nothing,
                    "cache_hit": nothing,
                    "cache_miss": nothing,
                },
                "batch_stats": [],
            }
            for version, used in usage.items()
        ]
    }


def _statistic(total: DurationTotal) -> dict[str, int]:
    return {"count": total.count, "ns": int(total.seconds * 1e9)}
