"""Bodies and answers of `/v1`. Vectors are not parsed by these schemas but in `codecs`.

The examples show four numbers of a vector; the shipped models have 768.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from service.api.codecs import session_ids
from service.api.openapi.errors import REQUEST_ID, Responses
from service.types import Variant

JSON, BINARY = "application/json", "application/octet-stream"

FIRST, SECOND, NEXT = (
    [0.5, -0.5, 0.5, 0.5],
    [0.1, 0.7, -0.5, 0.5],
    [0.331, 0.194, -0.021, 0.923],
)
VECTOR: dict[str, Any] = {
    "type": "array",
    "items": {"type": "number"},
    "description": "One vector: as many numbers as the version is wide (768 in the shipped ones). "
    "Each is finite and at most 1,000,000 in absolute value; the length is at least 0.001.",
}
ROUTING_KEY: dict[str, Any] = {
    "type": "string",
    "maxLength": 1024,
    "description": "Routing key: the same key gets the same variant. The header X-Routing-Key "
    "does the same.",
}
POSITION: dict[str, Any] = {
    "type": "integer",
    "minimum": 0,
    "description": "Length of the session before this append. It makes a retry safe.",
}
SESSION_ID: dict[str, Any] = {
    "type": "string",
    "pattern": session_ids.PATTERN,
    "description": "Name of the session: 1 to 128 letters, digits or `._:-`.",
}
_VARIANT = {"type": "string", "description": "Variant that answered; null for a chosen version."}
_VERSION = {"type": "string", "description": "Version that answered."}
_LENGTH = {"type": "integer", "description": "Vectors of the session, which is its next position."}

HEADERS: dict[str, Any] = {
    name: {"description": text, "schema": {"type": "string"}}
    for name, text in {
        "X-Variant": "Variant that answered.",
        "X-Model-Version": "Version that answered.",
        "Server-Timing": "Milliseconds in the queue, in the engine and in total.",
    }.items()
}


def rows_body(field: str, example: Mapping[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    """The request body of a route that reads vectors from `field`, as JSON or as float32 rows."""
    schema = {
        "type": "object",
        "required": [field],
        "additionalProperties": False,
        "properties": {
            field: {
                "type": "array",
                "items": VECTOR,
                "minItems": 1,
                "description": "Vectors, the oldest first.",
            },
            **others,
        },
    }
    return _body(
        schema, example, "Rows of little-endian float32, one after the other, without a header."
    )


def answer(description: str, example: Mapping[str, Any], **others: dict[str, Any]) -> Responses:
    """The response with one prediction, as JSON or as float32."""
    properties = {"next_vector": VECTOR, "variant": _VARIANT, "version": _VERSION, **others}
    schema = {"type": "object", "required": list(properties), "properties": properties}
    content = {
        JSON: {"schema": schema, "examples": {"prediction": {"value": dict(example)}}},
        BINARY: {"schema": _binary("The predicted vector as little-endian float32.")},
    }
    return {200: {"description": description, "content": content, "headers": HEADERS}}


def _body(schema: dict[str, Any], example: Mapping[str, Any], frame: str) -> dict[str, Any]:
    content = {
        JSON: {
            "schema": schema,
            "examples": {"vectors": {"summary": "4 of 768 numbers", "value": dict(example)}},
        },
        BINARY: {"schema": _binary(frame)},
    }
    return {"requestBody": {"required": True, "content": content}}


def _binary(description: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "description": description}


PREDICT_BODY = rows_body(
    "context", {"context": [FIRST, SECOND], "key": "customer-17"}, key=ROUTING_KEY
)
PREDICT_ANSWER = answer(
    "The predicted vector, of unit length.",
    {"next_vector": NEXT, "variant": "stable", "version": "phase-2"},
)

APPEND_BODY = {
    "parameters": [
        {"name": "session_id", "in": "path", "required": True, "schema": SESSION_ID},
        {
            "name": "position",
            "in": "query",
            "description": POSITION["description"],
            "schema": {"type": "integer", "minimum": 0},
        },
    ],
    **rows_body("vectors", {"vectors": [FIRST], "position": 0}, position=POSITION, key=ROUTING_KEY),
}
APPEND_ANSWER = answer(
    "The vector predicted to come next, and the session's length.",
    {
        "next_vector": NEXT,
        "variant": "stable",
        "version": "phase-2",
        "session": "ada",
        "length": 1,
    },
    session=SESSION_ID,
    length=_LENGTH,
)

_ROW = {
    "type": "object",
    "required": ["session", "vector"],
    "additionalProperties": False,
    "properties": {"session": SESSION_ID, "vector": VECTOR, "position": POSITION},
}
STEPS_BODY = _body(
    {
        "type": "object",
        "required": ["steps"],
        "additionalProperties": False,
        "properties": {"steps": {"type": "array", "minItems": 1, "items": _ROW}},
    },
    {
        "steps": [
            {"session": "ada", "vector": FIRST, "position": 0},
            {"session": "bob", "vector": SECOND, "position": 7},
        ]
    },
    "NVS1, the number of rows as uint32, each row's session (128 bytes) and position (int64), then "
    "the vectors as float32. All little-endian.",
)
STEPS_ANSWER: Responses = {
    200: {
        "description": "One result a row, in the request's order, each with its own status. The "
        "response is 200 even if every row failed.",
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["results"],
                    "properties": {
                        "results": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["session", "status"],
                                "properties": {
                                    "session": {**SESSION_ID, "type": ["string", "null"]},
                                    "status": {
                                        "type": "integer",
                                        "description": "The row's own HTTP status.",
                                    },
                                    "next_vector": VECTOR,
                                    "length": _LENGTH,
                                    "variant": _VARIANT,
                                    "version": _VERSION,
                                    "error": {"type": "string"},
                                    "code": {"type": "string"},
                                    "position": {
                                        "type": "integer",
                                        "description": "After 409: the session's true position.",
                                    },
                                },
                            },
                        }
                    },
                },
                "examples": {
                    "one row failed": {
                        "value": {
                            "results": [
                                {
                                    "session": "ada",
                                    "status": 200,
                                    "next_vector": NEXT,
                                    "length": 1,
                                    "variant": "stable",
                                    "version": "phase-2",
                                },
                                {
                                    "session": "bob",
                                    "status": 404,
                                    "error": "there is no session 'bob'",
                                    "code": "session_not_found",
                                },
                            ]
                        }
                    }
                },
            },
            BINARY: {
                "schema": _binary(
                    "NVR1, the number of rows as uint32, each row's status (uint32), four reserved "
                    "bytes and length (int64), then the predicted vectors as float32, zeros in "
                    "rows that failed."
                )
            },
        },
    }
}

FEEDBACK_BODY = {
    "parameters": [
        {
            "name": "request_id",
            "in": "query",
            "description": "For raw float32 only; JSON has it in the body.",
            "schema": {"type": "string"},
        }
    ],
    **_body(
        {
            "type": "object",
            "required": ["request_id", "vector"],
            "additionalProperties": False,
            "properties": {
                "request_id": {
                    "type": "string",
                    "description": "The X-Request-Id of the prediction's response.",
                },
                "vector": VECTOR,
            },
        },
        {"request_id": REQUEST_ID, "vector": SECOND},
        "One vector as little-endian float32.",
    ),
}
FEEDBACK_ANSWER: Responses = {
    202: {
        "description": "The label was accepted.",
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["request_id", "counted"],
                    "properties": {
                        "request_id": {"type": "string"},
                        "counted": {
                            "type": "boolean",
                            "description": "False for a label that was sent before.",
                        },
                    },
                },
                "examples": {"counted": {"value": {"request_id": REQUEST_ID, "counted": True}}},
            }
        },
    }
}


class SessionView(BaseModel):
    """The public state of a session."""

    id: str = Field(description="The session's id.")
    length: int = Field(
        description="Vectors appended so far, which is the position of the next append."
    )
    variant: Variant | None = Field(
        description="Variant that advanced it last; null for a version outside the split."
    )
    version: str = Field(description="Version that holds its state.")
    bytes: int = Field(description="Memory of the session on the server.")


SESSION_ANSWER: Responses = {
    200: {
        "description": "The session.",
        "content": {
            JSON: {
                "examples": {
                    "session": {
                        "value": {
                            "id": "ada",
                            "length": 40,
                            "variant": "stable",
                            "version": "phase-2",
                            "bytes": 49152,
                        }
                    }
                }
            }
        },
    }
}

PREDICTION_ERRORS = (
    "unauthorized",
    "no_canary",
    "body_timeout",
    "not_acceptable",
    "too_large",
    "unsupported_media_type",
    "invalid",
    "queue_full",
    "caller_limited",
    "too_many_failures",
    "engine_fault",
    "not_ready",
    "deadline_exceeded",
)
"""Codes of every route that predicts."""
