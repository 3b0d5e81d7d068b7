"""The schedule of a drill's faults. Pure: a seed gives the same schedule."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What is done to the fleet."""

    KILL = "kill"
    """`kill -9` of one replica."""
    STOP = "stop"
    """SIGSTOP of one replica, and SIGCONT later: it then believes that its sessions are its own."""
    REDIS = "redis"
    """`kill -9` of Redis."""
    POSTGRES = "postgres"
    """`kill -9` of PostgreSQL."""
    ROLLING = "rolling"
    """Every replica is stopped with SIGTERM and started again, one after the other."""
    ALL = "all"
    """`kill -9` of all replicas at once. Nobody can answer meanwhile."""


OUTAGES = frozenset({FaultKind.ALL})
"""Faults during which requests fail, whatever the settings."""

DEFAULT_KINDS = tuple(kind for kind in FaultKind if kind is not FaultKind.ALL)


@dataclass(frozen=True)
class Fault:
    """`quiet` seconds after the last one, for `hold` seconds. `replica` is an index from 0."""

    kind: FaultKind
    quiet: float
    hold: float
    replica: int | None = None


_HOLDS = {
    FaultKind.KILL: (0.0, 1.0),
    # Longer than the load balancer's try of 2 s, so that sessions move away meanwhile.
    FaultKind.STOP: (2.5, 5.0),
    FaultKind.REDIS: (0.2, 1.5),
    FaultKind.POSTGRES: (0.2, 1.5),
    FaultKind.ROLLING: (0.0, 0.0),
    FaultKind.ALL: (0.0, 0.5),
}
"""Seconds, by kind: shortest and longest."""

_KILLS_PER_OTHER = {
    FaultKind.STOP: 5,
    FaultKind.REDIS: 10,
    FaultKind.POSTGRES: 10,
    FaultKind.ROLLING: 50,
    FaultKind.ALL: 50,
}


def make_schedule(
    kinds: Collection[FaultKind], kills: int, replicas: int, seed: int
) -> tuple[Fault, ...]:
    """`kills` kills of replicas in a random order with the other `kinds`, at least one of each."""
    draw = random.Random(seed)  # noqa: S311  not for secrets
    order = [FaultKind.KILL] * (kills if FaultKind.KILL in kinds else 0)
    for kind, share in _KILLS_PER_OTHER.items():
        if kind in kinds:
            order += [kind] * max(1, round(kills / share))
    draw.shuffle(order)
    return tuple(
        Fault(
            kind,
            quiet=draw.uniform(0.3, 1.5),
            hold=draw.uniform(*_HOLDS[kind]),
            replica=draw.randrange(replicas) if kind in {FaultKind.KILL, FaultKind.STOP} else None,
        )
        for kind in order
    )
