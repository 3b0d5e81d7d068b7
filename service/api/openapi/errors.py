"""The error responses of each operation, with an example for every code that it can return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Responses = dict[int | str, dict[str, Any]]
"""What a route's decorator takes as `responses`, by status."""

REQUEST_ID = "6f1c2c8e9d0b4f6f8a3f0f3f7b1f9a55"


class ErrorBody(BaseModel):
    """The body of every error response. Some codes add fields that describe the state."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(description="What is wrong, and what to do.")
    code: str = Field(description="Stable identifier for programs.")
    request_id: str = Field(description="The `X-Request-Id` of the response.")


MEANINGS: Mapping[int, str] = {
    400: "The request cannot be parsed.",
    401: "The token or API key is missing or unknown.",
    403: "The token's role does not allow this.",
    404: "There is no such resource.",
    405: "The path has no such method.",
    406: "Neither JSON nor raw float32 is acceptable to the caller.",
    409: "The present state does not allow this.",
    410: "It existed, and is no longer kept.",
    412: "`If-Match` names an old generation.",
    413: "The body is too large.",
    415: "The body's media type is not supported.",
    422: "The request can be parsed, but a value is invalid.",
    428: "`If-Match` is missing.",
    429: "Too much for now. `Retry-After` says in how many seconds to try again.",
    431: "The head is too large.",
    499: "The caller has gone. Nobody reads this response.",
    500: "The service or the version failed.",
    503: "The service cannot do this now.",
    504: "The request was not answered before its deadline.",
}
"""The description of each status."""

ERRORS: Mapping[str, tuple[int, str]] = {
    "malformed": (400, "the body is not JSON: unexpected end of data: line 1 column 14 (char 13)"),
    "body_timeout": (400, "the body did not arrive in time"),
    "head_timeout": (400, "the head did not arrive in time"),
    "unauthorized": (401, "send Authorization: Bearer <token>"),
    "forbidden": (403, "this requires the role approver, not operator"),
    "not_found": (404, "Not Found"),
    "no_canary": (404, "there is no canary; leave out X-Variant or start a rollout"),
    "model_not_found": (404, "there is no model 'gpt'; this service has 'next-vector'"),
    "version_not_found": (404, "phase-9 is not in the repository; available: phase-3"),
    "session_not_found": (404, "there is no session 'ada'"),
    "prediction_not_found": (
        404,
        (
            "no prediction 'call-1' waits for a label: send the X-Request-Id of a response of "
            "/v1/predict that did not set X-Variant, with the same credentials"
        ),
    ),
    "method_not_allowed": (405, "Method Not Allowed"),
    "not_acceptable": (
        406,
        "Accept is 'text/html': accept application/json or application/octet-stream",
    ),
    "conflict": (409, "cannot resume while Healthy; legal now: start"),
    "position_mismatch": (409, "the next position of session 'ada' is 5, not 3"),
    "guardrails_not_passed": (
        409,
        "the guardrails of this step have not passed; wait, or force the promotion (approver role)",
    ),
    "gate_missed": (
        409,
        (
            "phase-3 fails the gate: Hit@5 is 0.377, at least 0.4 required; an approver may start "
            "it with override_gate and a reason"
        ),
    ),
    "version_in_use": (409, "phase-2 is stable: it cannot be unloaded"),
    "session_gone": (
        410,
        "session 'ada' has expired or was evicted; send its whole context again with position 0",
    ),
    "prediction_gone": (
        410,
        (
            "the prediction 'call-1' is no longer kept; send labels sooner, or raise "
            "feedback.ttl_seconds or feedback.max_bytes"
        ),
    ),
    "precondition_failed": (412, "the rollout is at generation 8, not 7; read the status again"),
    "too_large": (413, "the body is larger than 65536 bytes"),
    "unsupported_media_type": (
        415,
        "content type 'text/plain': send application/json or application/octet-stream",
    ),
    "invalid": (422, "context[0] has 3 values, not 768"),
    "unknown_parameter": (422, "there is no query parameter 'dryrun'; did you mean 'dryRun'?"),
    "conflicting_parameter": (422, "position is given twice: 3 and 4"),
    "plan": (
        422,
        (
            "plan.deadline_seconds is 10; it must be above rollout.interval_seconds, 15, because a "
            "step that is never evaluated cannot end"
        ),
    ),
    "canary": (422, "canary: phase-2 is the stable version; name another one"),
    "below_floor": (
        422,
        (
            "the plan demands less than this service allows: plan.steps.0.min_samples is 10, at "
            "least 500 required (rollout.floor.min_samples)"
        ),
    ),
    "idempotency_key_reused": (
        422,
        "Idempotency-Key 'release-7' belongs to another request; use a new key",
    ),
    "version_unusable": (
        422,
        (
            "models/next-vector/phase-3/model.onnx: its sha256 differs from the manifest's; export "
            "the version again"
        ),
    ),
    "precondition_required": (
        428,
        'send If-Match with the generation you have seen; it is "8" now',
    ),
    "queue_full": (429, "256 requests are waiting; try again later"),
    "caller_limited": (
        429,
        "search has used up its requests per second: send fewer, or ask for a higher limit",
    ),
    "too_many_failures": (429, "too many failed log-ins: wait before the next one"),
    "head_too_large": (431, "the head is larger than 65536 bytes"),
    "cancelled": (499, "the caller disconnected"),
    "engine_fault": (500, "the engine returned NaN or Inf"),
    "internal": (500, "internal error; the log has the details under this request id"),
    "not_ready": (
        503,
        "the service is starting up or draining: wait for /v2/health/ready",
    ),
    "store": (
        503,
        (
            "nextvec.db: database or disk is full; check that the path is writable and the disk "
            "has space"
        ),
    ),
    "changed_meanwhile": (503, "another replica has changed the rollout; read the status again"),
    "session_store_unavailable": (503, "the session store cannot be reached; try again later"),
    "session_store_unusable": (503, "the session store must not be used as it is; see the log"),
    "abort_not_stored": (
        503,
        (
            "the abort is in effect, but it cannot be stored: a restart would give the canary its "
            "traffic back; free disk space, and repeat the abort until it succeeds"
        ),
    ),
    "too_many_connections": (503, "too many connections; retry later"),
    "deadline_exceeded": (504, "not answered within 10 s"),
}
"""Every code that a caller can get: its status, and a message as the service writes it."""

DETAILS: Mapping[str, Mapping[str, object]] = {
    "conflict": {"legal": ["start"], "phase": "Healthy"},
    "guardrails_not_passed": {"legal": ["abort", "pause", "promote"], "phase": "Progressing"},
    "position_mismatch": {"position": 5},
}
"""What a code's body has besides the fields of `ErrorBody`."""

EVERYWHERE = ("malformed", "unknown_parameter", "conflicting_parameter", "internal")
"""Codes of every operation."""


def error_responses(*codes: str) -> Responses:
    """The responses of an operation with these codes, besides those of `EVERYWHERE`."""
    found: Responses = {}
    for code in sorted({*codes, *EVERYWHERE}, key=lambda code: (ERRORS[code][0], code)):
        status, message = ERRORS[code]
        body = {"error": message, "code": code, "request_id": REQUEST_ID, **DETAILS.get(code, {})}
        response = found.setdefault(
            status,
            {
                "model": ErrorBody,
                "description": MEANINGS[status],
                "content": {"application/json": {"examples": {}}},
            },
        )
        response["content"]["application/json"]["examples"][code] = {"value": body}
    return found
