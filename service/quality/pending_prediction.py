"""A prediction that waits for the vector it predicted."""

from __future__ import annotations

from typing import NamedTuple

from service.rollout.routing.traffic_split import TrafficSplit
from service.types import Variant, Vector


class PendingPrediction(NamedTuple):
    """One prediction, who made it, and under which split.

    `key` is the routing key that assigned the variant. `owner` is the session or caller whose
    stream the prediction belongs to. `single_use` means that the key was drawn for this
    prediction and never comes again.
    """

    vector: Vector
    variant: Variant
    version: str
    split: TrafficSplit
    key: str
    owner: str
    single_use: bool = False
