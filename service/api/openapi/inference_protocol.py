"""Bodies and answers of `/v2`: the Open Inference Protocol, and the repository of versions."""

from __future__ import annotations

from typing import Any

from service.api.openapi.errors import Responses
from service.api.openapi.vectors import BINARY, FIRST, HEADERS, JSON, NEXT, SECOND

MODEL_ERRORS = ("unauthorized", "model_not_found", "caller_limited", "too_many_failures")
"""Codes of the routes that describe a model."""

VERSION_IN_PATH: dict[str, Any] = {
    "parameters": [
        {
            "name": "version",
            "in": "path",
            "required": True,
            "description": "A loaded version.",
            "schema": {"type": "string", "examples": ["phase-2"]},
        }
    ]
}

VERSION_IN_QUERY: dict[str, Any] = {
    "parameters": [
        {
            "name": "version",
            "in": "query",
            "required": False,
            "description": "The version, if the body does not name it.",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "parameters": {
                            "type": "object",
                            "properties": {"version": {"type": "string"}},
                        }
                    },
                },
                "examples": {"version": {"value": {"parameters": {"version": "phase-3"}}}},
            }
        }
    },
}

INDEX_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "ready": {"type": "boolean", "description": "Only the loaded versions."}
                    },
                },
                "examples": {"all": {"value": {}}, "loaded": {"value": {"ready": True}}},
            }
        }
    }
}


def _tensor(name: str, shape: list[int], data: list[float]) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": shape, "data": data}


_PARAMETERS = {"type": "object", "description": "Parameters of the protocol, or routing_key."}
_TENSOR = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "enum": ["FP32", "FP16"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"description": "Numbers, flat or nested. Absent for a binary tensor."},
        "parameters": _PARAMETERS,
    },
}
INFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The protocol's JSON. With the header Inference-Header-Content-Length, "
        "binary tensors follow it; with 0, the body is the rows of one context.",
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "parameters": _PARAMETERS,
                        "inputs": {"type": "array", "items": _TENSOR, "maxItems": 1},
                        "outputs": {"type": "array", "items": _TENSOR},
                    },
                },
                "examples": {
                    "context": {
                        "summary": "One context of two vectors (4 of 768 numbers)",
                        "value": {
                            "id": "call-1",
                            "inputs": [_tensor("vectors", [2, 4], FIRST + SECOND)],
                        },
                    },
                    "sequence": {
                        "summary": "The first vector of a sequence (4 of 768 numbers)",
                        "value": {
                            "parameters": {"sequence_id": "ada", "sequence_start": True},
                            "inputs": [_tensor("vectors", [1, 4], FIRST)],
                        },
                    },
                },
            },
            BINARY: {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": "The JSON, if any, and then the tensors' bytes.",
                }
            },
        },
    }
}


def _json(description: str, example: object, **more: Any) -> Responses:
    """A JSON response with one example."""
    content = {JSON: {"schema": {}, "examples": {"example": {"value": example}}}}
    return {200: {"description": description, "content": content, **more}}


INFER_ANSWER = _json(
    "The predicted vectors, one for each context.",
    {
        "id": "call-1",
        "model_name": "next-vector",
        "model_version": "phase-2",
        "outputs": [_tensor("next_vector", [1, 4], NEXT)],
    },
    headers=HEADERS,
)
INFER_ANSWER[200]["content"][BINARY] = {"schema": {"type": "string", "format": "binary"}}

SERVER_ANSWER = _json(
    "Name, version, extensions and loaded versions.",
    {
        "name": "nextvec",
        "version": "0.2.0",
        "extensions": ["binary_tensor_data", "sequence", "statistics"],
        "models": [
            {
                "name": "next-vector",
                "version": "phase-2",
                "context_window": 500,
                "precision": "int8",
                "step_precisions": {"1": "int8", "8": "int8"},
                "provider": "CPUExecutionProvider",
            }
        ],
    },
)
MODELS_ANSWER = _json("The names of the models.", {"models": ["next-vector"]})
METADATA_ANSWER = _json(
    "Tensors and loaded versions.",
    {
        "name": "next-vector",
        "versions": ["phase-2", "phase-3"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "vectors", "datatype": "FP32", "shape": [-1, -1, 768]}],
        "outputs": [{"name": "next_vector", "datatype": "FP32", "shape": [-1, 768]}],
    },
)
CONFIG_ANSWER = _json(
    "The metadata as a Triton model configuration.",
    {
        "name": "next-vector",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [{"name": "vectors", "data_type": "TYPE_FP32", "dims": [-1, -1, 768]}],
        "output": [{"name": "next_vector", "data_type": "TYPE_FP32", "dims": [-1, 768]}],
    },
)
_NOTHING = {"count": 0, "ns": 0}
STATISTICS_ANSWER = _json(
    "Counts and nanoseconds of each loaded version since the service started.",
    {
        "model_stats": [
            {
                "name": "next-vector",
                "version": "phase-2",
                "last_inference": 1795740914679,
                "inference_count": 1200,
                "execution_count": 310,
                "inference_stats": {
                    "success": {"count": 1200, "ns": 4210000000},
                    "fail": _NOTHING,
                    "queue": {"count": 1200, "ns": 310000000},
                    "compute_input": _NOTHING,
                    "compute_infer": {"count": 1200, "ns": 3600000000},
                    "compute_output": _NOTHING,
                    "cache_hit": _NOTHING,
                    "cache_miss": _NOTHING,
                },
                "batch_stats": [],
            }
        ]
    },
)


def _ready(*, ready: bool) -> dict[str, Any]:
    return {JSON: {"examples": {"example": {"value": {"name": "next-vector", "ready": ready}}}}}


READY_ANSWER: Responses = {
    200: {"description": "It can answer.", "content": _ready(ready=True)},
    503: {
        "description": "It is not loaded, or the service drains.",
        "content": _ready(ready=False),
    },
}


def _state(version: str, *, ready: bool) -> dict[str, str]:
    return {
        "name": "next-vector",
        "version": version,
        "state": "READY" if ready else "UNAVAILABLE",
        "reason": "" if ready else "not loaded",
    }


INDEX_ANSWER = _json(
    "Every version with its state.", [_state("phase-2", ready=True), _state("phase-3", ready=False)]
)
LOAD_ANSWER = _json("The version is loaded and warm.", _state("phase-3", ready=True))
UNLOAD_ANSWER = _json("The version is unloaded.", _state("phase-3", ready=False))

LIVE_ANSWER = _json("The process answers.", {"live": True, "ready": True})
SERVICE_READY_ANSWER: Responses = {
    **_json("Versions are loaded and warm.", {"live": True, "ready": True}),
    503: {
        "description": "The service is starting or draining.",
        "content": _json("", {"live": True, "ready": False})[200]["content"],
    },
}
METRICS_ANSWER: Responses = {
    200: {
        "description": "All metrics; OpenMetrics if `Accept` asks for it.",
        "content": {
            "text/plain": {
                "schema": {"type": "string"},
                "examples": {
                    "text": {
                        "value": "# HELP nextvec_sessions Sessions in memory.\n"
                        "# TYPE nextvec_sessions gauge\n"
                        "nextvec_sessions 12.0\n"
                    }
                },
            },
            "application/openmetrics-text": {"schema": {"type": "string"}},
        },
    }
}

START_PAGE_ANSWER: Responses = {
    200: {
        "description": "Paths by name; a page for browsers.",
        "content": {
            "text/html": {"schema": {"type": "string"}},
            JSON: {
                "schema": {"type": "object"},
                "examples": {
                    "paths": {
                        "value": {
                            "name": "nextvec",
                            "version": "0.2.0",
                            "paths": {
                                "console": "/console",
                                "api": "/docs",
                                "openapi": "/openapi.json",
                                "ready": "/v2/health/ready",
                                "metrics": "/metrics",
                                "predict": "/v1/predict",
                                "rollout": "/admin/v1/rollout",
                            },
                        }
                    }
                },
            },
        },
    }
}
