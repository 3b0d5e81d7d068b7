"""How many replicas and Redis servers a load needs: arithmetic on measured figures.

The figures were measured on two cores of a shared AMD EPYC with Redis 7.0 and PostgreSQL 15, and
are good to about a fifth. What follows from them was not run; docs/explanation/scaling.md explains
it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

APPENDS_PER_SECOND = 17_000
"""Appends that one Redis stores in a second, pipelined: its one thread is then full."""

CLAIM_SECONDS = 0.0014
"""One claim of a session of 1,000 vectors with its state, P50."""

ROW_BYTES = 823
"""A vector in Redis: a float32 scale, 768 bytes, and Redis's own."""

ROW_SENT_BYTES = 772
"""A vector on its way to Redis."""

STATE_BYTES = 8192
"""The states in one checkpoint."""

SESSION_BYTES = 500
"""The hash of a session and the names of its keys."""

CHECKPOINT_VECTORS = 32
"""Vectors between two checkpoints of a session."""

EVIDENCE_SECONDS = 0.00065
"""PostgreSQL's time for one report of a replica's evidence."""

EVIDENCE_INTERVAL_SECONDS = 5.0
"""Between two reports of one replica."""

VECTOR_BYTES = 4 * 768


@dataclass(frozen=True, kw_only=True)
class FleetLoad:
    """What a fleet must carry, and what its machines can.

    `replica_steps` is the number of steps a second at which one replica is full, `redis_bytes` the
    memory of one Redis. `use` is the share of either that may be used in the long run.
    """

    sessions: int
    steps: float
    history: int = 1000
    replica_steps: float = 1700.0
    redis_bytes: float = 64e9
    use: float = 0.5
    memory_use: float = 0.75


@dataclass(frozen=True)
class FleetSize:
    """What that needs. A share is of one server's time."""

    replicas: int
    redis_by_calls: int
    redis_by_memory: int
    session_bytes: int
    all_session_bytes: float
    redis_bytes_per_second: float
    caller_bytes_per_second: float
    postgres_share: float
    sessions_per_replica: float
    claims_per_second: float
    claim_share: float
    claim_bytes: float

    @property
    def redis(self) -> int:
        """Redis servers: the larger of the two numbers."""
        return max(self.redis_by_calls, self.redis_by_memory)


def size_fleet(load: FleetLoad) -> FleetSize:
    """Size a fleet.

    After the death of a replica its sessions are claimed when they are used next. The rate of
    claims is highest at once: the sessions of a replica, each used as often as before.
    """
    replicas = max(2, math.ceil(load.steps / (load.replica_steps * load.use)))
    session = ROW_BYTES * load.history + STATE_BYTES + SESSION_BYTES
    by_calls = max(1, math.ceil(load.steps / (APPENDS_PER_SECOND * load.use)))
    by_memory = max(1, math.ceil(load.sessions * session / (load.redis_bytes * load.memory_use)))
    of_replica = load.sessions / replicas
    claims = load.steps / replicas
    return FleetSize(
        replicas=replicas,
        redis_by_calls=by_calls,
        redis_by_memory=by_memory,
        session_bytes=session,
        all_session_bytes=float(load.sessions * session),
        redis_bytes_per_second=load.steps * (ROW_SENT_BYTES + STATE_BYTES / CHECKPOINT_VECTORS),
        caller_bytes_per_second=load.steps * 2 * VECTOR_BYTES,
        postgres_share=replicas * EVIDENCE_SECONDS / EVIDENCE_INTERVAL_SECONDS,
        sessions_per_replica=of_replica,
        claims_per_second=claims,
        claim_share=claims * CLAIM_SECONDS / max(by_calls, by_memory),
        claim_bytes=of_replica * (ROW_SENT_BYTES * load.history + STATE_BYTES),
    )
