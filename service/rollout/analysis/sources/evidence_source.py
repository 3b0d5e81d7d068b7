"""The port through which the analysis reads both arms' counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from service.rollout.analysis.counters import Counters, Counts
from service.rollout.analysis.shadow_stats import ShadowStats


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cumulative counters of one pair of versions. An alias is the name in stored records.

    `origin` identifies the counters' lifetime: counters of another origin started at zero.
    `shadow` are the copies of a shadow step in the same lifetime, from a source that counts
    them. `processes` are those that were counting, where the source knows them.
    """

    origin: str
    stable: str
    canary: str
    counters: Annotated[Counters, Field(alias="counted")]
    # Left out of stored records without them: those are as they always were.
    shadow: Annotated[ShadowStats | None, Field(exclude_if=lambda it: it is None)] = None
    processes: Annotated[tuple[str, ...], Field(exclude_if=lambda it: it == ())] = ()

    def copies_since(self, before: Snapshot | None) -> ShadowStats | None:
        """The copies that `before` does not have; None from a source without them."""
        if self.shadow is None or before is None or before.origin != self.origin:
            return self.shadow
        return self.shadow if before.shadow is None else self.shadow.since(before.shadow)


class EvidenceSource(Protocol):
    """A source of counters: the process's own registry, or a Prometheus server."""

    @property
    def edges(self) -> tuple[float, ...]:
        """The upper bucket edges in seconds, without +Inf."""
        ...

    async def read(self, stable: str, canary: str) -> Snapshot:
        """The cumulative counters now. May raise anything: the analysis is then an `error`."""
        ...

    async def read_stable(self, stable: str) -> dict[str, Counts]:
        """Stable's cumulative requests by mode, while there is no canary. May raise anything."""
        ...


def counters_since(before: Snapshot | None, now: Snapshot) -> Counters:
    """What `now` counts that `before` did not: raw differences, with reset detection.

    A counter that went down, or that has another origin, restarted from zero, so all it
    holds is new. Without a `before` of the same versions nothing is new: the snapshot is
    only the start of the count.
    """
    if before is None or (before.stable, before.canary) != (now.stable, now.canary):
        return Counters()
    if before.origin != now.origin:
        return now.counters
    return now.counters.since(before.counters)
