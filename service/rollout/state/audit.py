"""The rows of the audit log. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from service.rollout.plan.gate import GateMiss
from service.rollout.state.events import Transition

AuditRow = dict[str, object]
"""One transition as the audit log stores it, JSON only."""


def audit_row(
    transition: Transition, evidence: Sequence[AuditRow], missed: Sequence[GateMiss] = ()
) -> AuditRow:
    """The row for a transition.

    `evidence` holds every guardrail's verdict at that moment, `missed` the gate
    criteria that an approver overrode.
    """
    return {
        "at": transition.at,
        "generation": transition.generation,
        "actor": transition.actor,
        "reason": transition.reason.value,
        "note": transition.note,
        "from": transition.source.value,
        "to": transition.target.value,
        "step": transition.step,
        "weight_percent": transition.weight_bp / 100,
        "stable": transition.stable,
        "canary": transition.canary,
        "message": transition.message,
        "evidence": list(evidence) or None,
        "gate_missed": [miss.to_json() for miss in missed] or None,
    }
