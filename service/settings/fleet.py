"""Settings of the fleet that this process belongs to."""

from __future__ import annotations

from pydantic import Field

from service.settings.values import FrozenModel


class FleetSettings(FrozenModel):
    """The name of the fleet, and of this replica in it. They count when several replicas share a
    database of rollouts (`rollout.url`) or a store of sessions."""

    name: str = Field(
        "nextvec",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the fleet. Replicas with the same name share one rollout and one set "
        "of sessions; fleets with different names may share a database.",
        examples=["embeddings-eu"],
    )
    replica: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="Name of this replica in the status, the logs and the list of replicas. The "
        "default is the host's name and the port.",
        examples=["nextvec-0"],
    )
