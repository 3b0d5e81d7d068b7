"""Who serves a request: one immutable decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from service.inference.registry import LoadedVersion, Registry
from service.metrics import UNASSIGNED
from service.prediction.request import RequestOptions
from service.random_ids import draw_id
from service.rollout.routing.traffic_split import Route, TrafficRouter, TrafficSplit


class RoutingDecision(NamedTuple):
    """Who serves a request, and under which split.

    `is_evidence` is true if the request compares the variants: the split placed it, and
    either variant would have had the same work.
    """

    split: TrafficSplit
    route: Route
    loaded: LoadedVersion
    is_evidence: bool

    def without_evidence(self) -> RoutingDecision:
        """The same decision, left out of the evidence."""
        return RoutingDecision(self.split, self.route, self.loaded, is_evidence=False)

    @property
    def label(self) -> str:
        """The `variant` label of the request's metrics."""
        if not self.is_evidence or self.route.variant is None:
            return UNASSIGNED
        return self.route.variant.value

    @property
    def is_shadowed(self) -> bool:
        """Whether the canary may get a copy: in a shadow step, of what the split routed."""
        return self.split.shadow and self.is_evidence


class RequestRouter:
    """Routes requests by the split in force. `draw_key` returns a random routing key."""

    def __init__(
        self, traffic: TrafficRouter, registry: Registry, draw_key: Callable[[], str] = draw_id
    ) -> None:
        self._traffic = traffic
        self._registry = registry
        self.draw_id = draw_key

    @property
    def split(self) -> TrafficSplit:
        """The split in force."""
        return self._traffic.current

    def decide(self, options: RequestOptions, session_id: str | None = None) -> RoutingDecision:
        """Route one request. The session's id is its key if the caller names none.

        Raises `NotFound` if the version or variant that the caller asks for is not loaded.
        """
        split = self._traffic.current
        if options.version is None:
            route = split.route(options.key or session_id, options.override, self.draw_id)
        else:
            # Looked up before it is used: a caller's text must not become a metric label.
            self._registry.get(options.version)
            route = split.pinned(options.version)
        return RoutingDecision(split, route, self._registry.get(route.version), route.assigned)

    def renew(
        self, decision: RoutingDecision, options: RequestOptions, session_id: str
    ) -> RoutingDecision:
        """`decision`, or another one if the split or the version changed since. Raises as `decide`.

        For a request that has waited: the rollout may have moved in the meantime.
        """
        if (
            self._traffic.current is decision.split
            and self._registry.get(decision.route.version) is decision.loaded
        ):
            return decision
        return self.decide(options, session_id)
