"""The base class of a guardrail, and what one analysis run shows it.

A guardrail is one file beside this one. It holds the guardrail's config, a model with
plain descriptions; its state, a frozen dataclass of plain numbers that is stored in the
rollout's record; and a subclass of `Guardrail` with the test, its proof and its text.
To add one, write that file and add the class to `registry.GUARDRAILS`. The plan, the
record, the status, the metrics and the simulation all follow the registry.

A guardrail that needs counts that are not collected yet adds a field to
`service.rollout.analysis.counters.Counters`, which both sources fill.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from service.rollout.analysis.counters import Counters, Counts
from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.guardrails.config import GuardrailConfig
from service.rollout.analysis.verdict import Verdict, VerdictOutcome


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one analysis run shows every guardrail.

    `counters` are the counts gained since the last run. `settled`: latency may be judged,
    because warm-up and settling were over for all of that time. `canary_only`: the canary
    gets 100 %. `restarted`: a process has begun or gone since the last run, so routing
    keys that were counted may be counted again.
    """

    counters: Counters
    settled: bool = True
    canary_only: bool = False
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class AnalysisParameters:
    """The plan's figures that several guardrails share, and the upper edges of the latency
    histograms' buckets in seconds, without +Inf."""

    ratio: float
    quantile: float
    baseline_samples: int
    edges: tuple[float, ...]

    @property
    def percentile_name(self) -> str:
        """P95 for a quantile of 0.95."""
        return f"P{self.quantile * 100:g}"


class GuardrailState(Protocol):
    """What a guardrail remembers: a frozen dataclass that survives JSON."""

    def next_step(self) -> Self:
        """The state after a change of weight: the case for the canary starts again, the case
        against it continues."""
        ...


ConfigT = TypeVar("ConfigT", bound=GuardrailConfig)
StateT = TypeVar("StateT", bound=GuardrailState)


class Guardrail(ABC, Generic[ConfigT, StateT]):
    """A sequential test on both variants' counts, valid at every evaluation.

    `name` is its name in the plan, the status and the metrics. `alpha_parts` is its weight
    when the rollout's alpha is divided. `can_pass` is False for one that can only fail.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[GuardrailConfig]]
    state_type: ClassVar[type[Any]]
    alpha_parts: ClassVar[int] = 1
    can_pass: ClassVar[bool] = True

    def __init__(
        self, config: ConfigT, parameters: AnalysisParameters, bounds: EvidenceBounds
    ) -> None:
        """`bounds` are the error probabilities that it may spend in the whole rollout."""
        self.config = config
        self.parameters = parameters
        self.bounds = bounds

    @property
    def label(self) -> str:
        """What the guardrail's figure is called in front of people."""
        return self.name

    @property
    @abstractmethod
    def threshold(self) -> float:
        """The limit on the verdict's `ratio`, for people."""

    @abstractmethod
    def initial_state(self, baseline: Mapping[str, Counts]) -> StateT:
        """The state before any evidence. `baseline`: stable's requests before the rollout, by
        mode; empty if they were not counted."""

    @abstractmethod
    def update(self, state: StateT, measurement: Measurement) -> StateT:
        """The state after one more analysis run. No data is no evidence either way."""

    @abstractmethod
    def assess(self, state: StateT) -> Verdict:
        """The verdict from all runs so far, with its arithmetic. A fail outweighs a pass."""

    def error(self, message: str) -> Verdict:
        """The verdict when the counts could not be read or judged: neither a pass nor a fail."""
        return Verdict(
            name=self.name,
            outcome=VerdictOutcome.ERROR,
            message=f"error: {message}",
            threshold=self.threshold,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            label=self.label,
            can_pass=self.can_pass,
        )
