"""The rollout's record: all that a restart needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from service.rollout.analysis.evidence import Evidence
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.rollout.state.rollout_state import RolloutState


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """Where the rollout stands and the evidence it stands on.

    `analysed_at`: when `snapshot` was taken, in epoch seconds. `shadow`: the statistics of
    the current shadow step, or of the last one.
    """

    rollout: RolloutState
    evidence: Evidence | None = None
    snapshot: Snapshot | None = None
    analysed_at: Annotated[float | None, Field(alias="looked_at")] = None
    shadow: ShadowStats | None = None
