"""Bodies and answers of `/admin/v1/rollout`."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from service.api.openapi.errors import Responses, error_responses
from service.api.openapi.vectors import JSON
from service.rollout.plan.rollout_plan import RolloutPlan


class StartRequest(BaseModel):
    """The body of a request that starts a rollout."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"canary": "phase-3", "reason": "longer context"},
                {
                    "canary": "phase-3",
                    "reason": "a short plan for a busy hour",
                    "plan": {"steps": [{"weight": 10}, {"weight": 50, "approval": True}]},
                },
            ]
        },
    )

    canary: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="A version in the repository."
    )
    plan: RolloutPlan | None = Field(
        None, description="Plan of the rollout; the service's own plan if omitted."
    )
    reason: str = Field("", max_length=1000, description="For the audit log.")
    override_gate: bool = Field(
        default=False, description="Start despite a failed gate (approver role; requires a reason)."
    )


class VerbRequest(BaseModel):
    """The body of any other change; the audit log keeps the reason."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "callers use sessions now"}]}
    )

    reason: str = Field("", max_length=1000, description="For the audit log.")


_VIEW_ERRORS = ("unauthorized", "forbidden", "too_many_failures", "not_ready")
_CHANGE_ERRORS = (
    *_VIEW_ERRORS,
    "conflict",
    "precondition_failed",
    "precondition_required",
    "idempotency_key_reused",
    "invalid",
    "store",
    "too_large",
    "unsupported_media_type",
    "body_timeout",
)
VIEW_RESPONSES = error_responses(*_VIEW_ERRORS)
CHANGE_RESPONSES = error_responses(*_CHANGE_ERRORS)
PROMOTE_RESPONSES = error_responses(*_CHANGE_ERRORS, "guardrails_not_passed")
RETRY_RESPONSES = error_responses(*_CHANGE_ERRORS, "gate_missed", "below_floor")
START_RESPONSES = error_responses(
    *_CHANGE_ERRORS,
    "gate_missed",
    "version_not_found",
    "version_unusable",
    "canary",
    "plan",
    "below_floor",
)
ABORT_RESPONSES = error_responses(*_VIEW_ERRORS, "conflict", "abort_not_stored")

_NUMBER = {"type": ["number", "null"]}
_TEXT = {"type": ["string", "null"]}
STATUS_FIELDS: dict[str, dict[str, Any]] = {
    "outlook": {"type": "string", "description": "How the rollout stands, in one word."},
    "headline": {"type": "string", "description": "The same in one sentence, for people."},
    "next": {
        "type": "object",
        "description": "What happens next: the action, what it waits for, how far each condition "
        "is, and the deadline.",
    },
    "phase": {
        "type": "string",
        "description": "Healthy, Pending, WarmingUp, Progressing, Paused, Promoting, Aborting or "
        "RolledBack.",
    },
    "reason": {**_TEXT, "description": "Why the last change happened, for programs."},
    "message": {"type": "string", "description": "The same with its figures, for people."},
    "actor": {"type": "string", "description": "Who made the last change; controller: itself."},
    "note": {"type": "string", "description": "The reason that this person gave."},
    "generation": {"type": "integer", "description": "Rises with every change; it is the ETag."},
    "stable": {"type": "string", "description": "The stable version."},
    "canary": {**_TEXT, "description": "The version on trial."},
    "previous": {**_TEXT, "description": "The version that an undo brings back."},
    "attempt": {
        "type": ["integer", "null"],
        "description": "How often this canary was started against this stable version.",
    },
    "step": {"type": ["integer", "null"], "description": "Number of the step, from 0."},
    "steps": {"type": "integer", "description": "Number of steps in the plan."},
    "weight": {
        "type": "object",
        "description": "The canary's share of requests in per cent: as set, and as judged in this "
        "step.",
        "properties": {"set_percent": {"type": "number"}, "actual_percent": _NUMBER},
    },
    "since": {"type": "number", "description": "Start of the phase, in epoch seconds."},
    "step_since": {**_NUMBER, "description": "Start of the step, in epoch seconds."},
    "looked_at": {**_NUMBER, "description": "The last evaluation, in epoch seconds."},
    "legal": {
        "type": "array",
        "items": {"type": "string"},
        "description": "What a person may request now.",
    },
    "plan": {"type": ["object", "null"], "description": "The plan, with every default."},
    "gate": {
        "type": ["object", "null"],
        "description": "Whether an approver overrode the gate, and what the canary missed.",
    },
    "recorded": {"type": "boolean", "description": "Whether the state is stored on disk."},
    "guardrails": {
        "type": "array",
        "items": {"type": "object"},
        "description": "Every guardrail's verdict with its figures.",
    },
    "shadow": {
        "type": ["object", "null"],
        "description": "What the copies of a shadow step have shown.",
    },
}
"""Fields of the status."""


def _reference(name: str) -> dict[str, str]:
    """A reference to one of `EXAMPLES`, which `document` puts into the components."""
    return {"$ref": f"#/components/examples/{name}"}


def _status(description: str, example: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {"ETag": {"description": "The generation.", "schema": {"type": "string"}}},
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": list(STATUS_FIELDS),
                    "properties": STATUS_FIELDS,
                },
                "examples": {"status": _reference(example)},
            }
        },
    }


EXAMPLES: dict[str, Any] = orjson.loads(
    files(__package__).joinpath("rollout_examples.json").read_bytes()
)
"""Answers of a running service, by the names that the responses below refer to."""

STATUS_ANSWER: Responses = {200: _status("The status.", "progressing")}
CHANGED: Responses = {200: _status("The status after the change, or its preview.", "progressing")}
STARTED: Responses = {
    200: _status("With `dryRun=All`: the status as it would be.", "preview"),
    202: _status("The rollout has begun; the canary loads.", "pending"),
}
HISTORY_ANSWER: Responses = {
    200: {
        "description": "The audit log, the newest row first.",
        "content": {JSON: {"examples": {"rows": _reference("history")}}},
    }
}
EVENTS_ANSWER: Responses = {
    200: {
        "description": "Server-sent events. `data` is the status.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "examples": {
                    "first event": {
                        "value": 'event: status\nid: 8\ndata: {"phase": "Progressing", …}\n\n'
                    }
                },
            }
        },
    }
}
ABORT_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            JSON: {
                "schema": VerbRequest.model_json_schema(),
                "examples": {"reason": {"value": {"reason": "users complain"}}},
            }
        }
    }
}


def _rows(description: str, name: str) -> Responses:
    return {
        200: {"description": description, "content": {JSON: {"examples": {name: _reference(name)}}}}
    }


CONSOLE_ANSWER = _rows("The console's name, links and plans.", "console")
VERSIONS_ANSWER = _rows("The versions in the repository, by name.", "versions")
TIMELINE_ANSWER = _rows("The points after `since`, the oldest first.", "timeline")
