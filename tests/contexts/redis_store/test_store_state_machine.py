"""Random appends, retries, claims, evictions, expiries and kills on three replicas, in sync.

The oracle is a list of vectors a session. At every moment the store has exactly those, each once.
"""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from service.contexts.history import decode_rows
from service.errors import Conflict, EngineFault, Gone, NotFound
from tests.support.fakes import DIM, fault, unit_vectors
from tests.support.session_worlds import HISTORY, check, redis_replica

pytestmark = pytest.mark.slow

FLEETS = itertools.count()
SESSIONS = st.sampled_from(["x", "y"])
REPLICAS = st.integers(0, 2)
COUNTS = st.sampled_from([1, 1, 1, 2, 5, 33, 70])


class FleetMachine(RuleBasedStateMachine):
    """Three replicas over one server; `redis` is set by the test."""

    redis = None

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.fleet = f"machine{next(FLEETS)}"
        self.replicas = [self.run(self.connect(f"r{number}")) for number in range(3)]
        self.dead = []
        self.oracle = {"x": np.empty((0, DIM), np.float32), "y": np.empty((0, DIM), np.float32)}
        self.last = {"x": None, "y": None}
        self.gone = set()
        self.seed = 0

    def run(self, work):
        return self.runner.run(work)

    async def connect(self, name):
        return await redis_replica(self.redis.url, name, fleet=self.fleet, store_timeout_seconds=5)

    def rows(self, count):
        self.seed += 1
        return unit_vectors(count, seed=self.seed)

    def stored(self, session, rows, position):
        self.oracle[session] = np.concatenate([self.oracle[session], rows])
        self.last[session] = (rows, position)

    def teardown(self):
        for replica in [*self.replicas, *self.dead]:
            self.run(replica.close())
        self.runner.close()

    @rule(replica=REPLICAS, session=SESSIONS, count=COUNTS, positioned=st.booleans())
    def append(self, replica, session, count, positioned):
        rows, position = self.rows(count), len(self.oracle[session])
        work = self.replicas[replica].append(session, rows, position if positioned else None)
        if session in self.gone and (position or not positioned):
            with pytest.raises(Gone):
                self.run(work)
            return
        answer = self.run(work)
        self.gone.discard(session)
        self.stored(session, rows, position)
        assert answer.length == position + count
        check(answer, self.oracle[session])

    @rule(session=SESSIONS, replica=REPLICAS, count=COUNTS)
    def begin_again(self, session, replica, count):
        """An expired session begins again at position 0."""
        if session in self.gone:
            self.oracle[session] = self.oracle[session][:0]
            self.append(replica, session, count, positioned=True)

    @rule(replica=REPLICAS, session=SESSIONS)
    def retry(self, replica, session):
        if self.last[session] is None or session in self.gone:
            return
        rows, position = self.last[session]
        if position + len(rows) != len(self.oracle[session]):
            return
        answer = self.run(self.replicas[replica].append(session, rows, position))
        assert answer.length == len(self.oracle[session])
        check(answer, self.oracle[session])

    @rule(replica=REPLICAS, session=SESSIONS, off=st.sampled_from([-3, -1, 1, 100]))
    def name_a_wrong_position(self, replica, session, off):
        length = len(self.oracle[session])
        position = max(0, length + off)
        if not length or session in self.gone or position == length:
            return
        with pytest.raises(Conflict) as raised:
            self.run(self.replicas[replica].append(session, self.rows(1), position))
        assert raised.value.details == {"position": length}

    @rule(replica=REPLICAS, session=SESSIONS, count=COUNTS, turns=st.integers(0, 12))
    def kill_in_the_middle(self, replica, session, count, turns):
        """The replica dies during an append, and its caller tries again elsewhere."""
        if session in self.gone:
            return
        rows, position = self.rows(count), len(self.oracle[session])

        async def begin_and_die():
            victim = self.replicas[replica]
            task = asyncio.create_task(victim.append(session, rows, position))
            for _ in range(turns):
                await asyncio.sleep(0)
            client = victim.store._calls.client
            client._closed = True  # it says nothing any more, not even an undo
            if client._connection is not None:
                client._connection.abort()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return victim

        self.dead.append(self.run(begin_and_die()))
        self.replicas[replica] = self.run(self.connect(f"r{replica}"))
        other = self.replicas[(replica + 1) % 3]
        answer = self.run(other.append(session, rows, position))
        self.stored(session, rows, position)
        assert answer.length == len(self.oracle[session])
        check(answer, self.oracle[session])

    @rule(replica=REPLICAS, session=SESSIONS, count=COUNTS, turns=st.integers(0, 12))
    def cut_the_connection(self, replica, session, count, turns):
        """In the middle of an append: the call is sent again, and stored once."""
        if session in self.gone:
            return
        rows, position = self.rows(count), len(self.oracle[session])

        async def append_and_cut():
            chosen = self.replicas[replica]
            task = asyncio.create_task(chosen.append(session, rows, position))
            for _ in range(turns):
                await asyncio.sleep(0)
            connection = chosen.store._calls.client._connection
            if connection is not None:
                connection.abort()
            return await task

        answer = self.run(append_and_cut())
        self.stored(session, rows, position)
        assert answer.length == len(self.oracle[session])
        check(answer, self.oracle[session])

    @rule(replica=REPLICAS, session=SESSIONS, count=COUNTS)
    def fail_in_the_engine(self, replica, session, count):
        if session in self.gone:
            return
        chosen = self.replicas[replica]
        chosen.engine.faults.append(fault())
        with pytest.raises(EngineFault):
            self.run(chosen.append(session, self.rows(count), len(self.oracle[session])))
        if len(self.oracle[session]):
            self.run(chosen.store.read(session))  # answered after the append was taken back

    @rule(session=SESSIONS, chosen=st.lists(REPLICAS, min_size=2, max_size=5))
    def append_at_once(self, session, chosen):
        """Several callers without a position: each vector is stored once, in some order."""
        if session in self.gone:
            return
        rows = [self.rows(1) for _ in chosen]

        async def all_at_once():
            works = [
                self.replicas[number].append(session, row)
                for number, row in zip(chosen, rows, strict=True)
            ]
            return await asyncio.gather(*works)

        answers = self.run(all_at_once())
        order = sorted(range(len(chosen)), key=lambda number: answers[number].length)
        for number in order:
            self.stored(session, rows[number], len(self.oracle[session]))
            assert answers[number].length == len(self.oracle[session])
            check(answers[number], self.oracle[session])

    @rule(replica=REPLICAS)
    def evict(self, replica):
        """Memory is a cache."""
        store = self.replicas[replica].store
        for name in list(store._sessions._entries):
            store._sessions.pop(name)

    @rule(session=SESSIONS)
    def expire(self, session):
        if len(self.oracle[session]):
            self.redis.command("HSET", self.key(session, "m"), "t", "0")
            self.gone.add(session)

    @rule(replica=REPLICAS, session=SESSIONS)
    def delete(self, replica, session):
        length = len(self.oracle[session])
        work = self.replicas[replica].store.delete(session)
        if session in self.gone or not length:
            with pytest.raises(Gone if session in self.gone else NotFound):
                self.run(work)
            return
        self.run(work)
        self.oracle[session] = self.oracle[session][:0]
        self.last[session] = None

    def key(self, session, part):
        return f"nv:{self.fleet}:{{{session}}}:{part}"

    @invariant()
    def the_store_has_every_vector_once(self):
        for session, rows in self.oracle.items():
            length = int(self.redis.command("HGET", self.key(session, "m"), "n") or 0)
            assert length == len(rows)
            if session not in self.gone:
                kept = self.redis.command("LRANGE", self.key(session, "h"), "0", "-1")
                found = decode_rows(kept, DIM)
                assert len(found) >= min(length, HISTORY)
                np.testing.assert_array_equal(rows[length - len(found) :], found)


def test_nothing_is_lost_or_stored_twice(redis):
    FleetMachine.redis = redis
    run_state_machine_as_test(
        FleetMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
