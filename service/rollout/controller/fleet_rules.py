"""What the list of replicas says about a rollout. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from service.rollout.state.events import LIVE, LoadFailure
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.fleet_store import FleetView, ReplicaEntry

DEATHS = 2
"""So many unexpected deaths pause a rollout."""

DEATH_WINDOW_SECONDS = 600.0
"""How long after a rise of the weight a death counts."""


def living(view: FleetView) -> tuple[ReplicaEntry, ...]:
    """The replicas that are there."""
    return tuple(each for each in view.replicas if each.living(view.now))


def newest_revision(view: FleetView) -> int:
    """The newest revision of the record that a living replica has seen."""
    return max((each.report.revision for each in living(view)), default=0)


def unexpected_deaths(view: FleetView, rollout: RolloutState) -> tuple[ReplicaEntry, ...]:
    """The processes that went without a farewell since the last rise of the weight, and since the
    rollout was last resumed."""
    if rollout.phase not in LIVE:
        return ()
    begin = max(rollout.step_since, rollout.since)
    end = rollout.step_since + DEATH_WINDOW_SECONDS
    return tuple(
        each
        for each in view.replicas
        if begin <= each.seen <= end and not each.departed and not each.living(view.now)
    )


def describe_deaths(deaths: tuple[ReplicaEntry, ...], rollout: RolloutState) -> str:
    """The message of the pause."""
    names = ", ".join(each.report.replica for each in deaths)
    return (
        f"{len(deaths)} replicas died within {DEATH_WINDOW_SECONDS / 60:.0f} minutes of the rise "
        f"to {rollout.weight_bp / 100:g} %: {names}; a canary that ends its process leaves no "
        "other evidence. See the logs of these replicas, then abort or resume"
    )


def unprepared(view: FleetView, canary: str) -> tuple[ReplicaEntry, ...]:
    """The living replicas that have not loaded the canary."""
    return tuple(each for each in living(view) if canary not in each.report.versions)


def other_files(view: FleetView, canary: str, own: Mapping[str, str]) -> LoadFailure | None:
    """Why the replicas must not serve this canary together: they have different files."""
    for each in living(view):
        digest = each.report.versions.get(canary)
        if digest is not None and digest != own.get(canary):
            return LoadFailure(
                f"{each.report.replica} has other files of {canary} (digest {digest[:12]}) than "
                f"the leader ({own.get(canary, 'none')[:12]}): give all replicas the same export"
            )
    return None


def describe_fleet(view: FleetView | None) -> dict[str, object]:
    """The leader and the living replicas as JSON."""
    entries = () if view is None else living(view)
    names = {each.report.boot: each.report.replica for each in entries}
    return {
        "leader": None if view is None or view.leader is None else names.get(view.leader),
        "replicas": [
            {
                "name": each.report.replica,
                "boot": each.report.boot,
                "seen": each.seen,
                "revision": each.report.revision,
                "versions": sorted(each.report.versions),
                "failure": each.report.failure or None,
            }
            for each in entries
        ],
    }
