"""The port through which the replicas of a fleet know of each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.rollout.analysis.sources.evidence_report import EvidenceReport
from service.rollout.state.audit import AuditRow
from service.rollout.storage.rollout_store import RolloutStore

LEASE_SECONDS = 10.0
"""How long a leader may be silent before another replica takes the lead."""

LIVING_SECONDS = 10.0
"""How long a replica may be silent before it counts as dead."""


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What a replica says of itself with every pulse.

    `versions` maps each loaded version to the digest of its graphs. `revision` is the newest
    record that it has seen. `failure` says why the canary cannot be loaded; blank otherwise.
    """

    boot: str
    replica: str
    revision: int
    versions: Mapping[str, str]
    failure: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaEntry:
    """One process in the list of replicas. Times are in epoch seconds of the store's clock.

    `departed`: it has said farewell. `superseded`: another process of the same name began
    after it was last seen.
    """

    report: ReplicaReport
    began: float
    seen: float
    departed: bool
    superseded: bool

    def living(self, now: float) -> bool:
        """Whether it is there at `now`."""
        return not self.departed and not self.superseded and now - self.seen < LIVING_SECONDS


@dataclass(frozen=True, slots=True)
class FleetView:
    """What a pulse brings back.

    `now` is the store's clock, in epoch seconds. `revision` is that of the record, 0 without
    one. `epoch` is that of the lease if the asking replica holds it, else None; `leader` is the
    boot that holds it. `replicas` has those of the last hour.
    """

    now: float
    revision: int
    epoch: int | None
    leader: str | None
    replicas: tuple[ReplicaEntry, ...]


class SharedRolloutStore(RolloutStore, Protocol):
    """A store that replicas share."""

    @property
    def revision(self) -> int:
        """That of the record loaded or saved last; 0 without one."""
        ...

    def note_revision(self, revision: int) -> None:
        """Some replica has seen `revision`: the next one saved is above it."""
        ...


class FleetStore(Protocol):
    """Pulse, lease, evidence and news. Every method raises `StoreError`."""

    async def open(self) -> None:
        """Connect, and create or upgrade the tables.

        Raises `StoreError`, at once when waiting does not help.
        """
        ...

    async def time(self) -> float:
        """The store's clock, in epoch seconds."""
        ...

    async def place(self) -> str | None:
        """A name of the database, the same for every replica; None if it does not tell."""
        ...

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the record has changed. It may be missed: poll as well."""
        ...

    async def pulse(self, report: ReplicaReport, *, lead: bool) -> FleetView:
        """Write the replica's report, and read how things are.

        With `lead`, take the lease if it is free, or keep it.
        """
        ...

    async def depart(self, boot: str) -> None:
        """Say farewell, and give the lease back."""
        ...

    async def put_evidence(self, boot: str, report: EvidenceReport) -> None:
        """Replace the counts of this process under this split."""
        ...

    async def evidence(self, split: str) -> Mapping[str, EvidenceReport]:
        """Every process's counts under the split, by boot, dead ones included."""
        ...

    async def rows_after(self, number: int) -> Sequence[AuditRow]:
        """The rows of the audit log after row `number`, oldest first, at most a thousand."""
        ...

    async def last_row(self) -> int:
        """The number of the newest row of the audit log; 0 without one."""
        ...
