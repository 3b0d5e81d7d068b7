"""BodyBudget as the OpenAPI page shows them. Vectors are parsed by `body.py`, not by these."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.rollout.plan.rollout_plan import RolloutPlan
from service.types import Variant


class ErrorBody(BaseModel):
    """Every answer that is not a success."""

    error: str = Field(description="what is wrong, and what to do")
    code: str = Field(description="stable, for programs")
    request_id: str


class SessionView(BaseModel):
    """A session, from outside."""

    id: str
    length: int = Field(description="vectors appended so far: the next append's position")
    variant: Variant | None = Field(
        description="whose version advanced it last; null for one outside the split"
    )
    version: str
    bytes: int = Field(description="memory it takes on the server")


class StartRequest(BaseModel):
    """A rollout to be started."""

    model_config = ConfigDict(extra="forbid")

    canary: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="a version of the repository"
    )
    plan: RolloutPlan | None = Field(None, description="the service's own where it is left out")
    reason: str = Field("", max_length=1000)
    override_gate: bool = Field(
        default=False, description="though the plan's gate is missed: an approver, with a reason"
    )


class VerbRequest(BaseModel):
    """Why a person did it; kept in the audit log."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=1000)


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The caller's mistake"},
    "5XX": {"model": ErrorBody, "description": "The service's"},
}

_VECTOR = {"type": "array", "items": {"type": "number"}}

VECTOR_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The predicted vector, of unit length",
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
    """The OpenAPI request body of a route that takes vectors in `field`."""
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
                        "description": "little-endian float32, row after row",
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
            "description": "with raw float32 only; JSON has it in the body",
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
                    "description": "one vector as little-endian float32",
                }
            },
        },
    },
}

VERSION_IN_PATH: dict[str, Any] = {
    "parameters": [
        {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
}

INFER: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The protocol's JSON; with Inference-Header-Content-Length, followed by "
        "binary tensors",
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
