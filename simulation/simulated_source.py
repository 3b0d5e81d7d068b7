"""An evidence source that draws the requests of a simulated rollout."""

from __future__ import annotations

import numpy as np

from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.types import Mode
from simulation.scenario import BEFORE_SECONDS, SimulatedTraffic


class SimulatedSource:
    """An `EvidenceSource` with simulated counters.

    Arrivals are Poisson, and each request goes to the canary with the probability of its
    weight. The counts of all buckets are therefore independent Poisson variables.
    """

    def __init__(self, traffic: SimulatedTraffic, rng: np.random.Generator) -> None:
        self._traffic = traffic
        self._rng = rng
        self._counts = np.zeros((2, len(traffic.edges) + 2), dtype=np.int64)
        self._copies = self._counts.copy()

    @property
    def edges(self) -> tuple[float, ...]:
        return self._traffic.edges

    async def read_stable(self, stable: str) -> dict[str, Counts]:  # noqa: ARG002 - the protocol's signature
        """Stable's requests before the canary's first one, by mode."""
        row = self._rng.poisson(self._traffic.before * BEFORE_SECONDS).tolist()
        return {Mode.STEP.value: Counts(tuple(row[:-1]), row[-1])}

    def serve(self, run: int, seconds: float, share: float, stalled: float = 0.0) -> None:
        """Draw the requests of the `seconds` before analysis run number `run`.

        The canary gets `share` of them. For `stalled` of the seconds it answers nothing.
        """
        stable, canary = self._traffic.stable[run], self._traffic.canary[run]
        if stalled:
            part = stalled / seconds
            canary = canary * (1 - part) + canary.sum() * part * self._traffic.stalled
        means = np.stack([stable * (1 - share), canary * share]) * seconds
        self._counts += self._rng.poisson(means)

    def shadow(self, run: int, seconds: float) -> None:
        """Draw the requests of a shadow step: stable serves all, the canary runs copies."""
        self.serve(run, seconds, 0.0)
        stable, canary = self._traffic.stable[run], self._traffic.canary[run]
        self._copies += self._rng.poisson(np.stack([stable, canary]) * seconds)

    def take(self) -> ShadowStats:
        """The statistics of the copies since the last call."""
        stable, canary = self._copies.tolist()
        self._copies[:] = 0
        answered = sum(canary[:-1])
        arms = CountsByArm(Counts(tuple(stable[:-1])), Counts(tuple(canary[:-1])))
        return ShadowStats(
            self.edges,
            {Mode.STEP.value: arms},
            answered=answered,
            faults=canary[-1],
            cosine_sum=float(answered),
        )

    async def read(self, stable: str, canary: str) -> Snapshot:
        rows = [(tuple(row[:-1]), row[-1]) for row in self._counts.tolist()]
        arms = CountsByArm(*(Counts(durations, faults) for durations, faults in rows))
        # Without a queue, the request takes as long as the engine.
        engine = CountsByArm(*(Counts(durations) for durations, _ in rows))
        mode = Mode.STEP.value
        counters = Counters(requests={mode: arms}, inference={mode: engine})
        return Snapshot("simulated", stable, canary, counters)
