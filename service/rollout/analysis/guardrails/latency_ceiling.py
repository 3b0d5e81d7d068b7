"""The guardrail ceiling: canary P95 against limits in seconds, whatever stable does.

Each request mode has two limits: one to roll back at, one to aim at. A request exceeds a
limit when it takes longer or fails. While the canary's percentile is within the limit, a
request exceeds it with a probability of at most p = 1 - quantile, given everything before.
Then for odds r > 1, with `a` of n requests above it, E[r^a] ≤ (1 + p(r - 1))^n: a binomial
bet (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting").
The product over analysis runs of the left side over the right side is a supermartingale:
the case for a rollback. The mirror image, r < 1 on requests above the aim, is the case for
a pass. Between the two limits the guardrail remains inconclusive.

Counts only know the edges of their buckets. So the effective limit to roll back at is the
next edge above it and the effective aim is the next edge below it: rounding causes neither
verdict. The message shows the effective limits.

Random assignment protects the other guardrails from anything that slows both arms. It
cannot protect this one: on a slow machine the canary exceeds an absolute limit that stable
exceeds as well. So it is off unless a plan turns it on, and even then no step needs its
pass unless the plan says so. Limits are per mode, because a context of a thousand vectors
and one more vector of a session have none in common. By default only single steps have one.
Modes without limits are not judged.

Latency is judged after warm-up and settling. Stakes and clip are those of `e_process`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from service.rollout.analysis.comparison import Comparison, DifferenceKind, ValueUnit
from service.rollout.analysis.counters import Counts, CountsByArm
from service.rollout.analysis.e_process import EProcess, log_binomial_factor
from service.rollout.analysis.formatting import (
    format_count,
    format_seconds,
    format_share,
    format_value_seconds,
)
from service.rollout.analysis.guardrails.config import GuardrailConfig, PlanModel, PositiveSeconds
from service.rollout.analysis.guardrails.guardrail import Guardrail, Measurement
from service.rollout.analysis.verdict import Verdict, VerdictOutcome
from service.types import Mode

FAIL_ODDS = (1.15, 1.35, 1.6, 2.0, 2.7, 4.0, 6.0, 10.0)
PASS_ODDS = (0.02, 0.2, 0.4, 0.6, 0.75, 0.87)


class LatencyLimits(PlanModel):
    """The canary's P95 in seconds: what it should be, and what rolls it back."""

    aim_seconds: PositiveSeconds = Field(0.005, description="A pass needs a P95 within this.")
    roll_back_seconds: PositiveSeconds = Field(
        0.010, description="A P95 above this rolls the canary back."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.aim_seconds > self.roll_back_seconds:
            raise ValueError("aim_seconds must not exceed roll_back_seconds")
        return self


class LatencyCeilingConfig(GuardrailConfig):
    """The canary's P95 against absolute limits, by request mode."""

    enabled: bool = Field(default=False, description="Judge it; it may roll back.")
    required: bool = Field(default=False, description="Every step needs its pass.")
    modes: dict[Mode, LatencyLimits] = Field(
        default_factory=lambda: {Mode.STEP: LatencyLimits()},
        min_length=1,
        description="`aim_seconds` and `roll_back_seconds` by request mode. Other modes are "
        "not judged.",
    )


@dataclass(frozen=True, slots=True)
class ExceedanceCounts:
    """How many requests were judged in one mode, and how many of the canary's exceeded each
    limit."""

    canary: int = 0
    stable: int = 0
    over_roll_back: int = 0
    over_aim: int = 0

    def plus(self, new: CountsByArm, over_roll_back: int, over_aim: int) -> ExceedanceCounts:
        return ExceedanceCounts(
            self.canary + new.canary.total,
            self.stable + new.stable.total,
            self.over_roll_back + over_roll_back,
            self.over_aim + over_aim,
        )


@dataclass(frozen=True, slots=True)
class LatencyCeilingState:
    """The evidence on all modes together, and what was counted in each."""

    e_process: Annotated[EProcess, Field(alias="wager")] = field(
        default_factory=lambda: EProcess.initial(len(FAIL_ODDS), len(PASS_ODDS))
    )
    rollout: dict[str, ExceedanceCounts] = field(default_factory=dict)
    step: dict[str, ExceedanceCounts] = field(default_factory=dict)

    def next_step(self) -> LatencyCeilingState:
        return replace(self, e_process=self.e_process.next_step(), step={})


class LatencyCeilingGuardrail(Guardrail[LatencyCeilingConfig, LatencyCeilingState]):
    """The guardrail over absolute limits on the canary's latency."""

    name: ClassVar[str] = "ceiling"
    config_type: ClassVar[type[GuardrailConfig]] = LatencyCeilingConfig
    state_type: ClassVar[type[LatencyCeilingState]] = LatencyCeilingState

    @property
    def label(self) -> str:
        return f"{self.parameters.percentile_name} ceiling"

    @property
    def threshold(self) -> float:
        """The verdict's ratio is the share of requests above the limit over the allowed one."""
        return 1.0

    def initial_state(self, baseline: Mapping[str, Counts]) -> LatencyCeilingState:  # noqa: ARG002 - part of the interface
        return LatencyCeilingState()

    def update(self, state: LatencyCeilingState, measurement: Measurement) -> LatencyCeilingState:
        """A mode without limits or without requests of the canary changes nothing."""
        fail_factors, pass_factors = [0.0] * len(FAIL_ODDS), [0.0] * len(PASS_ODDS)
        rollout, step = dict(state.rollout), dict(state.step)
        judged = False
        for mode in self.config.modes:
            new = measurement.counters.requests.get(mode)
            if new is None or not new.canary.total or not measurement.settled:
                continue
            judged = True
            roll_back, aim = (new.canary.slower_than(edge) for edge in self._edges(mode))
            rollout[mode] = rollout.get(mode, ExceedanceCounts()).plus(new, roll_back, aim)
            step[mode] = step.get(mode, ExceedanceCounts()).plus(new, roll_back, aim)
            fail_factors = [
                x + self._log_factor(roll_back, new.canary, odds)
                for x, odds in zip(fail_factors, FAIL_ODDS, strict=True)
            ]
            pass_factors = [
                x + self._log_factor(aim, new.canary, odds)
                for x, odds in zip(pass_factors, PASS_ODDS, strict=True)
            ]
        if not judged:
            return state
        process = state.e_process.update(fail_factors, pass_factors, self.bounds)
        return LatencyCeilingState(process, rollout, step)

    def assess(self, state: LatencyCeilingState) -> Verdict:
        outcome, text = self.bounds.assess(state.e_process)
        shown = state.rollout if outcome is VerdictOutcome.FAIL else state.step
        texts = [self._mode_text(mode, counts) for mode, counts in sorted(shown.items())]
        step = state.step.values()
        return Verdict(
            name=self.name,
            outcome=outcome,
            message="; ".join([f"{outcome}: {text}", *texts]),
            threshold=self.threshold,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            log_fail=state.e_process.log_fail(),
            log_pass=state.e_process.log_pass(),
            canary=sum(counts.canary for counts in step),
            stable=sum(counts.stable for counts in step),
            ratio=self._ratio(state),
            details={
                "modes": [
                    self._details(mode, counts) for mode, counts in sorted(state.step.items())
                ]
            },
            label=self.label,
            comparison=self._compare(state),
        )

    def _compare(self, state: LatencyCeilingState) -> Comparison:
        """The share of the canary's requests above the limit, in words."""
        canary = sum(counts.canary for counts in state.step.values())
        over = sum(counts.over_roll_back for counts in state.step.values())
        allowed = 1 - self.parameters.quantile
        limits = " and ".join(
            f"{format_value_seconds(self.parameters.edges[self._edges(mode)[0]])} ({mode})"
            for mode in self.config.modes
        )
        text = f"no request of the canary has been compared with its limit, {limits}"
        if canary:
            text = (
                f"{format_share(over / canary)} of the canary's requests failed or took longer "
                f"than {limits} ({over} of {canary}; up to {format_share(allowed)} is allowed)"
            )
        return Comparison(
            text=text,
            short=text,
            value_unit=ValueUnit.SHARE,
            kind=DifferenceKind.RATIO,
            limit=1.0,
            canary=over / canary if canary else None,
            difference=self._ratio(state),
            possessive=False,
            suspicion="looks too slow",
            fault="it was too slow",
        )

    def _log_factor(self, exceeding: int, canary: Counts, odds: float) -> float:
        return log_binomial_factor(1 - self.parameters.quantile, exceeding, canary.total, odds)

    def _edges(self, mode: str) -> tuple[int, int]:
        """The numbers of the edges to roll back at and to aim at; -1 is below the first edge."""
        limits, edges = self.config.modes[Mode(mode)], self.parameters.edges
        above = [i for i, edge in enumerate(edges) if edge >= limits.roll_back_seconds]
        # Beyond the last edge lies the service's own deadline: those requests failed.
        roll_back = above[0] if above else len(edges) - 1
        return roll_back, sum(edge <= limits.aim_seconds for edge in edges) - 1

    def _ratio(self, state: LatencyCeilingState) -> float | None:
        canary = sum(counts.canary for counts in state.step.values())
        exceeding = sum(counts.over_roll_back for counts in state.step.values())
        return exceeding / canary / (1 - self.parameters.quantile) if canary else None

    def _details(self, mode: str, counts: ExceedanceCounts) -> dict[str, object]:
        roll_back, aim = self._edges(mode)
        return {
            "mode": mode,
            "roll_back_seconds": self.parameters.edges[roll_back],
            "aim_seconds": self.parameters.edges[aim] if aim >= 0 else None,
            "over_roll_back": counts.over_roll_back,
            "over_aim": counts.over_aim,
        }

    def _mode_text(self, mode: str, counts: ExceedanceCounts) -> str:
        roll_back, aim = self._edges(mode)
        limit = format_seconds(self.parameters.edges[roll_back])
        target = format_seconds(self.parameters.edges[aim]) if aim >= 0 else "the first bucket"
        return (
            f"{mode}: of {format_count(counts.canary, 'canary request')}, "
            f"{counts.over_roll_back} failed or were slower than the limit of {limit} and "
            f"{counts.over_aim} than the aim of {target}; "
            f"{format_share(1 - self.parameters.quantile)} may be"
        )
