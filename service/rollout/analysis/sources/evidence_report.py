"""What one replica has counted under one split."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.rollout.analysis.counters import Counters, Counts
from service.rollout.analysis.shadow_stats import ShadowStats


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """The cumulative counts of one process since it follows a split.

    `split` names the split: the versions, the salt and the weight. `edges` are the upper bucket
    edges in seconds, without +Inf. `stable` are stable's requests by mode since the process
    began, under any split. `shadow` are the copies of a shadow step.
    """

    split: str
    edges: tuple[float, ...]
    counters: Counters
    stable: dict[str, Counts] = field(default_factory=dict)
    shadow: ShadowStats | None = None
