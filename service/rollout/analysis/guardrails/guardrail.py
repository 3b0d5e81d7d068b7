"""What a guardrail is. `suite` runs them; each has a file of its own beside this one.

To add one, say `quality`:

1. its evidence: a field in `service.rollout.analysis.counters.Counted`, cumulative and additive
   over requests and per variant (for online scores: how many, their sum, their sum
   of squares), filled by both sources in `service.rollout.analysis.sources.registry_source` and
   `prometheus_source`, and subtracted in `Counted.since`;
2. its figures: a model in `guardrails.config`, and a field of its name in `Guardrails`;
3. its test: a file here with a frozen dataclass of plain numbers, which is kept in the
   record, and a class that is a `Guardrail` over it. `wager.Wager` keeps the bets, the
   stakes and the clip; what is left is the factor of one look, and the words;
4. a field of its name in `suite.Evidence` and a line in `suite.BUILDERS`.

Nothing else: record, status, metrics, state machine and simulation go by that table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from service.rollout.analysis.counters import Counters
from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.verdict import Verdict, VerdictOutcome


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one look shows to every guardrail.

    `new` is what was counted since the last look. `steady`: speed may be judged, as
    warm-up and settling were over throughout. `alone`: the canary has 100 %.
    `restarted`: the process has begun anew since the last look.
    """

    new: Counters
    steady: bool = True
    alone: bool = False
    restarted: bool = False


class GuardrailState(Protocol):
    """A guardrail's memory: a frozen dataclass that survives JSON."""

    def next_step(self) -> Self:
        """After the weight has changed: the case for the canary begins anew, the case
        against it goes on."""
        ...


T = TypeVar("T", bound=GuardrailState)


class Guardrail(Protocol[T]):
    """A rule over both variants' counts, valid at every look."""

    @property
    def name(self) -> str:
        """As in the plan, the status and the metrics."""
        ...

    @property
    def bounds(self) -> EvidenceBounds:
        """What chances of error it may spend."""
        ...

    @property
    def threshold(self) -> float:
        """What is demanded, for people."""
        ...

    def begin(self) -> T:
        """Nothing seen yet."""
        ...

    def look(self, test: T, look: Measurement) -> T:
        """The test after one more look. No data in it is no evidence either way."""
        ...

    def assess(self, test: T) -> Verdict:
        """The verdict of all looks so far, with its arithmetic. A fail outweighs a pass."""
        ...


def error(guardrail: Guardrail[T], message: str) -> Verdict:
    """What could not be read or judged: neither a pass nor a fail."""
    return Verdict(
        name=guardrail.name,
        outcome=VerdictOutcome.ERROR,
        message=f"error: {message}",
        threshold=guardrail.threshold,
        fail_bound=guardrail.bounds.log_fail,
        pass_bound=guardrail.bounds.log_pass,
    )
