"""What this replica may do in its fleet."""

from __future__ import annotations

from typing import Protocol

from service.rollout.state.events import LoadFailure
from service.rollout.state.rollout_state import RolloutState


class FleetRole(Protocol):
    """Who evaluates the rollout, and when a canary is ready everywhere."""

    @property
    def shared(self) -> bool:
        """Whether other replicas may change the rollout."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this replica evaluates the rollout now. Only for saving work: what must not
        happen twice is refused by the store."""
        ...

    @property
    def epoch(self) -> int | None:
        """The lease under which it does; None where there is no lease."""
        ...

    async def wait_until_prepared(self, rollout: RolloutState) -> LoadFailure | None:
        """Wait until every living replica has loaded the canary of `rollout`, and this one leads.

        Returns why the canary must not serve, or None; also None when the rollout has moved on.
        """
        ...


class SoleReplica:
    """A service without a fleet."""

    shared = False
    leads = True
    epoch: int | None = None

    async def wait_until_prepared(self, rollout: RolloutState) -> LoadFailure | None:  # noqa: ARG002 - nobody to wait for
        return None
