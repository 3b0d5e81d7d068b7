"""The rollout's status as typed objects.

The service's own document is in `raw`; fields that an older service does not send are None or
empty. Times are aware `datetime`s in UTC. Shares and weights are in per cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nextvec.errors import ResponseError

FINAL_PHASES = frozenset({"Healthy", "RolledBack"})
"""Phases without a rollout in progress."""

Document = Mapping[str, Any]


@dataclass(frozen=True)
class EvidenceInterval:
    """The values that the test has not rejected, valid at every evaluation; None: no bound yet."""

    low: float | None
    high: float | None
    confidence: float
    text: str


@dataclass(frozen=True)
class GuardrailStatus:
    """One guardrail: its verdict, both values, and their difference with its limit.

    `outcome` is "pass", "fail", "inconclusive" or "error"; `standing` says how far it is on the
    way, and `summary` says it in a sentence. `stable` and `canary` are in `value_unit` ("seconds"
    or "share"); `before` is stable's value before the rollout, for `interference`. `difference`
    is a "ratio" or in percentage "points", as `difference_kind` says, and `limit` is in the same
    unit. `message` has the arithmetic.
    """

    name: str
    outcome: str
    message: str
    label: str = ""
    standing: str | None = None
    summary: str = ""
    effect: str | None = None
    stable: float | None = None
    canary: float | None = None
    before: float | None = None
    value_unit: str | None = None
    difference: float | None = None
    difference_kind: str | None = None
    limit: float | None = None
    direction: str | None = None
    interval: EvidenceInterval | None = None
    progress: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, int] = field(default_factory=dict)
    raw: Document = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class RolloutCondition:
    """What the next action waits for: how far it is, as a sentence and as a `fraction` of 0..1."""

    name: str
    text: str
    met: bool
    fraction: float
    current: float
    required: float
    unit: str
    label: str = ""
    expected_at: datetime | None = None


@dataclass(frozen=True)
class RollbackRisk:
    """The guardrail nearest to a fail, and its `fraction` of the evidence for one, 0..1."""

    guardrail: str
    fraction: float
    text: str
    expected_at: datetime | None


@dataclass(frozen=True)
class NextRolloutAction:
    """What happens next. `on_deadline` says what happens at `deadline_at`: "pause" or "abort".

    `rollback` is None unless a guardrail leans to a fail.
    """

    action: str
    text: str
    weight_percent: float | None
    waiting_for: tuple[str, ...]
    earliest_at: datetime | None
    expected_at: datetime | None
    deadline_at: datetime | None
    on_deadline: str | None
    conditions: tuple[RolloutCondition, ...]
    rollback: RollbackRisk | None = None


@dataclass(frozen=True)
class RolloutStatus:
    """Where the rollout is, and why.

    `headline` says it in a sentence, and `outlook` in a word. `actor` made the last transition,
    with the reason `note`. `generation` rises with every change; `legal` are the verbs that are
    allowed now. `transitions` are those of a preview (`dry_run`). `recorded` is False while the
    service cannot store its record.
    """

    phase: str
    generation: int
    stable: str
    canary: str | None
    previous: str | None
    reason: str | None
    message: str
    step: int | None
    steps: int
    weight_percent: float
    actual_percent: float | None
    since: datetime | None
    legal: tuple[str, ...]
    guardrails: tuple[GuardrailStatus, ...]
    attempt: int | None = None
    outlook: str | None = None
    headline: str = ""
    next: NextRolloutAction | None = None
    actor: str = ""
    note: str = ""
    recorded: bool = True
    dry_run: bool = False
    transitions: tuple[AuditEntry, ...] = ()
    raw: Document = field(default_factory=dict, repr=False)

    @property
    def is_final(self) -> bool:
        """Whether no rollout is in progress."""
        return self.phase in FINAL_PHASES

    @property
    def is_rolled_back(self) -> bool:
        """Whether the last rollout was ended by a guardrail, a fault or an abort."""
        return self.phase == "RolledBack"

    @property
    def is_paused(self) -> bool:
        """Whether the rollout waits for a person; `needs_approval` says whether to be promoted."""
        return self.phase == "Paused"

    @property
    def needs_approval(self) -> bool:
        """Whether a person is to promote."""
        return self.is_paused and self.reason == "approval"

    def guardrail(self, name: str) -> GuardrailStatus:
        """The guardrail `name`. Raises `KeyError`."""
        return {found.name: found for found in self.guardrails}[name]


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit log: who changed the rollout, when, and why."""

    at: datetime | None
    generation: int
    actor: str
    reason: str
    note: str
    source: str
    target: str
    step: int | None
    weight_percent: float
    stable: str
    canary: str | None
    message: str
    headline: str = ""
    raw: Document = field(default_factory=dict, repr=False)


def parse_status(body: Document) -> RolloutStatus:
    """Read the document of `GET /admin/v1/rollout`. Raises `ResponseError`."""
    try:
        return RolloutStatus(
            phase=str(body["phase"]),
            generation=int(body["generation"]),
            stable=str(body["stable"]),
            canary=body["canary"],
            previous=body.get("previous"),
            reason=body.get("reason"),
            message=body.get("message") or "",
            step=body.get("step"),
            steps=int(body.get("steps") or 0),
            weight_percent=float(body["weight"]["set_percent"]),
            actual_percent=body["weight"].get("actual_percent"),
            since=_time(body.get("since")),
            legal=tuple(body.get("legal") or ()),
            guardrails=tuple(_guardrail(found) for found in body.get("guardrails") or ()),
            attempt=body.get("attempt"),
            outlook=body.get("outlook"),
            headline=body.get("headline") or "",
            next=_next(body.get("next")),
            actor=body.get("actor") or "",
            note=body.get("note") or "",
            recorded=body.get("recorded") is not False,
            dry_run=body.get("dry_run") is True,
            transitions=tuple(parse_entry(found) for found in body.get("transitions") or ()),
            raw=body,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResponseError(f"the answer is not a rollout's status: {error!r}") from error


def parse_entry(row: Document) -> AuditEntry:
    """Read a row of the audit log. Raises `ResponseError`."""
    try:
        return AuditEntry(
            at=_time(row.get("at")),
            generation=int(row["generation"]),
            actor=str(row["actor"]),
            reason=str(row["reason"]),
            note=row.get("note") or "",
            source=str(row["from"]),
            target=str(row["to"]),
            step=row.get("step"),
            weight_percent=float(row["weight_percent"]),
            stable=str(row["stable"]),
            canary=row.get("canary"),
            message=row.get("message") or "",
            headline=row.get("headline") or "",
            raw=row,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResponseError(f"the answer is not a row of the audit log: {error!r}") from error


def _guardrail(found: Document) -> GuardrailStatus:
    interval = found.get("interval")
    return GuardrailStatus(
        name=str(found["name"]),
        outcome=str(found["outcome"]),
        message=found.get("message") or "",
        label=found.get("label") or str(found["name"]),
        standing=found.get("standing"),
        summary=found.get("summary") or "",
        effect=found.get("effect"),
        stable=_number(found.get("stable")),
        canary=_number(found.get("canary")),
        before=_number(found.get("before")),
        value_unit=found.get("value_unit"),
        difference=_number(found.get("difference")),
        difference_kind=found.get("difference_kind"),
        limit=_number(found.get("limit")),
        direction=found.get("direction"),
        interval=None if interval is None else _interval(interval),
        progress=found.get("progress") or {},
        samples=found.get("samples") or {},
        raw=found,
    )


def _interval(found: Document) -> EvidenceInterval:
    return EvidenceInterval(
        _number(found["low"]), _number(found["high"]), float(found["confidence"]), found["text"]
    )


def _next(found: Document | None) -> NextRolloutAction | None:
    if found is None:
        return None
    return NextRolloutAction(
        action=str(found["action"]),
        text=found.get("text") or "",
        weight_percent=_number(found.get("weight_percent")),
        waiting_for=tuple(found.get("waiting_for") or ()),
        earliest_at=_time(found.get("earliest_at")),
        expected_at=_time(found.get("expected_at")),
        deadline_at=_time(found.get("deadline_at")),
        on_deadline=found.get("on_deadline"),
        conditions=tuple(
            RolloutCondition(
                name=str(each["name"]),
                text=each.get("text") or "",
                met=each["met"] is True,
                fraction=float(each["fraction"]),
                current=float(each["current"]),
                required=float(each["required"]),
                unit=str(each["unit"]),
                label=each.get("label") or "",
                expected_at=_time(each.get("expected_at")),
            )
            for each in found.get("conditions") or ()
        ),
        rollback=_risk(found.get("rollback")),
    )


def _risk(found: Document | None) -> RollbackRisk | None:
    if found is None:
        return None
    return RollbackRisk(
        guardrail=str(found["guardrail"]),
        fraction=float(found["fraction"]),
        text=found.get("text") or "",
        expected_at=_time(found.get("expected_at")),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _time(value: Any) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(float(value), UTC)
