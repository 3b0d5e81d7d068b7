"""What happened during a drill: appended to by its parts, read by its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from loadtest.fleet.drill.faults import Fault
from loadtest.fleet.drill.transcript import Transcript


@dataclass(frozen=True)
class FailedRequest:
    """A request without the answer that its caller wanted; `status` is 0 without any answer.

    `begun` says that its session had vectors.
    """

    at: float
    status: int
    text: str
    begun: bool


@dataclass(frozen=True)
class SessionFault:
    """A session that was not as its caller knew it. `vectors` are those concerned."""

    at: float
    session: str
    vectors: int
    text: str


@dataclass(frozen=True)
class AppendTiming:
    """An append that succeeded: `waited` seconds from its first try. `moved` says that another
    replica answered than before, `service` is the time in that replica, in seconds."""

    at: float
    waited: float
    service: float
    moved: bool


@dataclass(frozen=True)
class FaultSpan:
    """A fault, from its beginning until all was as before."""

    fault: Fault
    begin: float
    end: float


@dataclass(frozen=True)
class WeightSample:
    """The canary's weight in per cent at `replica`; None without an answer."""

    at: float
    replica: int
    weight: float | None


@dataclass
class DrillRecord:
    """Everything, in seconds from the begin of the run. `now` is that clock."""

    now: Callable[[], float]
    appends: list[AppendTiming] = field(default_factory=list)
    failures: list[FailedRequest] = field(default_factory=list)
    lost: list[SessionFault] = field(default_factory=list)
    """Acknowledged vectors that the service said it no longer has (404, 409, 410)."""
    lost_silently: list[SessionFault] = field(default_factory=list)
    """Acknowledged vectors that were missing although the service answered as if it had them."""
    doubled: list[SessionFault] = field(default_factory=list)
    not_repeated: list[SessionFault] = field(default_factory=list)
    """Repeats of a stored append that got a conflict instead of its answer."""
    spans: list[FaultSpan] = field(default_factory=list)
    weights: list[WeightSample] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    """Processes that ended although nobody ended them."""
    history: list[Mapping[str, object]] = field(default_factory=list)
    """The rollout's audit log, oldest first."""
    rollouts: int = 0
    resumed: int = 0
    transcripts: list[Transcript] = field(default_factory=list)
