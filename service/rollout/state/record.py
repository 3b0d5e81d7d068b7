"""The rollout's record: its state, and the evidence that led to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.rollout.analysis.verdict import Assessment
from service.rollout.state.rollout_state import RolloutState


@dataclass(frozen=True, slots=True)
class EarlierAssessment:
    """An assessment and when it was made, in epoch seconds."""

    at: float
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """All that a restart needs.

    `evidence` is the state of every guardrail, `snapshot` the counters that it includes,
    and `analysed_at` when they were read, in epoch seconds. `shadow` belongs to the current
    shadow step, or to the last one. `assessment` is the result of the last analysis run. It
    is not stored, because a restart computes it from the evidence. `seen_at` is when the last
    event was applied, in epoch seconds: a restart counts no time after it. `heard_at` is when
    the canary last had a request or a copy of one, in epoch seconds. `earlier` is the
    assessment before the last one in this step; it is not stored either.

    Stored records call `analysed_at` `looked_at`.
    """

    rollout: RolloutState
    evidence: Evidence | None = None
    snapshot: Snapshot | None = None
    analysed_at: Annotated[float | None, Field(alias="looked_at")] = None
    shadow: ShadowStats | None = None
    assessment: Assessment | None = None
    seen_at: float | None = None
    heard_at: float | None = None
    earlier: EarlierAssessment | None = None

    def stored(self) -> RolloutRecord:
        """The record as it comes back from the store, without what follows from the evidence."""
        return replace(self, assessment=None, earlier=None)

    def earlier_than(self, newer: RolloutRecord) -> EarlierAssessment | None:
        """This record's assessment, if it belongs to the same step of the same rollout as `newer`
        and is older; else the one before it, under the same condition."""
        before, after = self.rollout, newer.rollout
        same = (before.canary, before.salt, before.step) == (after.canary, after.salt, after.step)
        if not same or self.assessment is None or self.analysed_at is None:
            return None
        if newer.analysed_at is None or newer.analysed_at <= self.analysed_at:
            return self.earlier
        return EarlierAssessment(self.analysed_at, self.assessment)

    def shifted(self, seconds: float) -> RolloutRecord:
        """The record with all times later by `seconds`, so that durations until now are as
        before although the clock has moved by that much."""

        def later(at: float | None) -> float | None:
            return at + seconds if at else at

        rollout = replace(
            self.rollout,
            since=later(self.rollout.since) or 0.0,
            step_since=later(self.rollout.step_since) or 0.0,
        )
        return replace(
            self,
            rollout=rollout,
            analysed_at=later(self.analysed_at),
            seen_at=later(self.seen_at),
            heard_at=later(self.heard_at),
            earlier=None,
        )
