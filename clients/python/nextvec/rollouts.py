"""The admin routes of the rollout as operations without I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nextvec import errors
from nextvec.exchange import JSON, Budget, Call, Operation, Pause, exchange
from nextvec.predictions import json_object
from nextvec.rollout_status import AuditEntry, RolloutStatus, parse_entry, parse_status

_ROUTE = "/admin/v1/rollout"

_NEEDS_NO_GENERATION = frozenset({"start", "abort"})


@dataclass(frozen=True)
class RolloutChange:
    """One change of the rollout. `key` makes a repeat safe.

    Without `generation`, the change is based on the status at the moment it is made.
    """

    verb: str
    body: Mapping[str, Any]
    key: str
    generation: int | None = None
    force: bool = False
    dry_run: bool = False


def start_body(
    canary: str, plan: Mapping[str, Any] | None, reason: str, *, override_gate: bool
) -> dict[str, Any]:
    """The body of a start. Raises `TypeError` for a plan that is no mapping, such as a path."""
    if plan is not None and not isinstance(plan, Mapping):
        raise TypeError(
            f"plan is {type(plan).__name__}: give its fields as a dictionary, for example "
            "yaml.safe_load(Path('plan.yaml').read_text())"
        )
    body: dict[str, Any] = {"canary": canary, "reason": reason}
    if plan is not None:
        body["plan"] = dict(plan)
    if override_gate:
        body["override_gate"] = True
    return body


def status(budget: Budget) -> Operation[RolloutStatus]:
    """Read the status. Raises `Error`."""
    reply = yield from exchange(Call("GET", _ROUTE, admin=True), budget)
    return parse_status(json_object(reply))


def history(limit: int, budget: Budget) -> Operation[list[AuditEntry]]:
    """Read the last `limit` entries of the audit log, newest first. Raises `Error`."""
    call = Call("GET", f"{_ROUTE}/history", query={"limit": str(limit)}, admin=True)
    reply = yield from exchange(call, budget)
    try:
        rows = json.loads(reply.content)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        raise errors.ResponseError("the answer is not an audit log")
    return [parse_entry(row) for row in rows]


def change(wanted: RolloutChange, budget: Budget) -> Operation[RolloutStatus]:
    """Make a change, or preview it, and return the status after it. Raises `Error`."""
    generation = wanted.generation
    if generation is None and wanted.verb not in _NEEDS_NO_GENERATION:
        generation = (yield from status(budget)).generation
    headers = {"Content-Type": JSON, "Idempotency-Key": wanted.key}
    if generation is not None:
        headers["If-Match"] = f'"{generation}"'
    query = {"force": "true"} if wanted.force else {}
    if wanted.dry_run:
        query["dryRun"] = "All"
    call = Call(
        "POST",
        _ROUTE if wanted.verb == "start" else f"{_ROUTE}/{wanted.verb}",
        query=query,
        headers=headers,
        content=json.dumps(wanted.body).encode(),
        admin=True,
    )
    reply = yield from exchange(call, budget)
    return parse_status(json_object(reply))


def wait(
    new_budget: Callable[[], Budget],
    ends: float,
    poll: float,
    on_change: Callable[[RolloutStatus], None] | None = None,
) -> Operation[RolloutStatus]:
    """Wait until the rollout ends or waits for a person.

    `ends` is on the budget's clock. A service that does not answer is asked again until then.
    Raises `WaitTimeoutError`, and `StatusError` for a refusal that waiting does not change.
    """
    latest: RolloutStatus | None = None
    problem: errors.Error | None = None
    while True:
        budget = new_budget()
        budget.ends = min(budget.ends, ends)
        try:
            found = yield from status(budget)
        except (errors.TransportError, errors.ServiceError, errors.OverloadError) as error:
            problem = error
        else:
            problem = None
            if on_change is not None and (latest is None or found.generation != latest.generation):
                on_change(found)
            latest = found
            if found.is_final or found.is_paused:
                return found
        left = ends - budget.now()
        if left <= 0:
            raise errors.WaitTimeoutError(_describe(latest, problem), latest) from problem
        yield Pause(min(poll, left))


def _describe(latest: RolloutStatus | None, problem: errors.Error | None) -> str:
    text = "the rollout has not ended in time"
    if latest is not None:
        text = f"{text}: {latest.headline or f'{latest.phase}: {latest.message}'}"
    return text if problem is None else f"{text}; the service does not answer: {problem}"
