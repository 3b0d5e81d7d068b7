"""Schemas of the OpenAPI page. Vectors are not parsed by these but in `codecs.vectors`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.rollout.plan.rollout_plan import RolloutPlan
from service.types import Variant


class ErrorBody(BaseModel):
    """The body of every error response."""

    error: str = Field(description="What is wrong, and what to do.")
    code: str = Field(description="Stable identifier for programs.")
    request_id: str


class SessionView(BaseModel):
    """The public state of a session."""

    id: str
    length: int = Field(
        description="Vectors appended so far, which is the position of the next append."
    )
    variant: Variant | None = Field(
        description="Variant that advanced it last; null for a version outside the split."
    )
    version: str
    bytes: int = Field(description="Memory of the session on the server.")


class StartRequest(BaseModel):
    """The body of a request that starts a rollout."""

    model_config = ConfigDict(extra="forbid")

    canary: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="A version in the repository."
    )
    plan: RolloutPlan | None = Field(
        None, description="Plan of the rollout; the service's own plan if omitted."
    )
    reason: str = Field("", max_length=1000)
    override_gate: bool = Field(
        default=False, description="Start despite a failed gate (approver role; requires a reason)."
    )


class VerbRequest(BaseModel):
    """The body of any other change; the audit log keeps the reason."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=1000)


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is wrong."},
    "5XX": {"model": ErrorBody, "description": "The service failed."},
}

_VECTOR = {"type": "array", "items": {"type": "number"}}

VECTOR_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The predicted vector, of unit length.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "next_vector": _VECTOR,
                        "variant": {"type": "string"},
                        "version": {"type": "string"},
                        "session": {"type": "string"},
                        "length": {"type": "integer"},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def vectors_body(field: str, others: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI request body of a route that reads vectors from `field`."""
    schema = {
        "type": "object",
        "required": [field],
        "properties": {field: {"type": "array", "items": _VECTOR}, **others},
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": schema},
                "application/octet-stream": {
                    "schema": {
                        "type": "string",
                        "format": "binary",
                        "description": "Little-endian float32, one row after the other.",
                    }
                },
            },
        }
    }


FEEDBACK: dict[str, Any] = {
    "parameters": [
        {
            "name": "request_id",
            "in": "query",
            "description": "For raw float32 only; JSON has it in the body.",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["request_id", "vector"],
                    "properties": {"request_id": {"type": "string"}, "vector": _VECTOR},
                }
            },
            "application/octet-stream": {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": "One vector as little-endian float32.",
                }
            },
        },
    },
}

STEPS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["steps"],
                    "additionalProperties": False,
                    "properties": {
                        "steps": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "required": ["session", "vector"],
                                "additionalProperties": False,
                                "properties": {
                                    "session": {"type": "string"},
                                    "vector": _VECTOR,
                                    "position": {"type": "integer", "minimum": 0},
                                },
                            },
                        }
                    },
                }
            },
            "application/octet-stream": {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": "NVS1, rows as uint32, then each row's session (128 bytes) and "
                    "position (int64), then the vectors as float32.",
                }
            },
        },
    }
}

STEPS_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One result a row, in the request's order.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"results": {"type": "array", "items": {"type": "object"}}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

VERSION_IN_PATH: dict[str, Any] = {
    "parameters": [
        {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
}

VERSION_IN_QUERY: dict[str, Any] = {
    "parameters": [
        {"name": "version", "in": "query", "required": False, "schema": {"type": "string"}}
    ]
}

INFER: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The protocol's JSON. With Inference-Header-Content-Length, binary tensors "
        "follow it.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "parameters": {"type": "object"},
                        "inputs": {"type": "array", "items": {"type": "object"}},
                        "outputs": {"type": "array", "items": {"type": "object"}},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
