"""Routes requests by the rollout's record, or more carefully."""

from __future__ import annotations

from collections.abc import Callable

from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.rollout.state.rollout_state import RolloutState


class RolloutTraffic:
    """Never gives the canary more than the record does, and nothing while an abort waits.

    `withheld` returns why this replica must keep the canary out of traffic, or nothing, and
    `can_serve` whether a version is loaded here. A version that is not loaded gets no request.
    """

    def __init__(self, router: TrafficRouter) -> None:
        self.waiting_aborts = 0
        self.withheld: Callable[[], str] = lambda: ""
        self.can_serve: Callable[[str], bool] = lambda _version: True
        self._router = router

    @property
    def withholds(self) -> bool:
        """Whether this replica keeps a canary out of traffic that the record gives some."""
        return self._router.current.withheld

    def route(self, rollout: RolloutState) -> None:
        """Route requests by `rollout`."""
        split = TrafficSplit(rollout.stable) if self.waiting_aborts else rollout.split()
        if not self.can_serve(split.stable):
            split = self._router.current.withhold()
        elif split.canary is not None and (self.withheld() or not self.can_serve(split.canary)):
            split = split.withhold()
        if split != self._router.current:
            self._router.set(split)
