"""A store that refuses, goes away, or loses what it had acknowledged."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from service.errors import Conflict, Gone, NotFound, QueueFull, StoreUnavailable, StoreUnusable
from service.types import Mode, RequestOutcome
from tests.support.fakes import unit_vectors
from tests.support.redis_server import redis_server
from tests.support.session_worlds import check, redis_replica, replicas
from tests.support.tools import need

pytestmark = need("redis-server")

FLEETS = itertools.count()


@pytest.fixture
def server(tmp_path):
    """A server of one's own, to be killed."""
    with redis_server(tmp_path, appendonly="yes") as running:
        yield running


def lose(server, fleet, count):
    """Take the last `count` vectors of session `s` from the server, as a failover may."""
    key = f"nv:{fleet}:{{s}}:"
    length = int(server.command("HGET", key + "m", "n"))
    server.command("RPOP", key + "h", str(count))
    server.command("HSET", key + "m", "n", str(length - count), "p", "", "d", "")


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_what_a_server_has_lost_is_sent_again_by_the_replica_that_holds_it(redis, durability):
    fleet, vectors = f"lost{next(FLEETS)}", unit_vectors(12)
    async with replicas(redis.url, "a", "b", fleet=fleet, durability=durability) as pair:
        await pair.a.append("s", vectors[:10], 0)
        lose(redis, fleet, 4)
        check(await pair.a.append("s", vectors[10:11], 10), vectors[:11])
        assert await pair.a.length("s") == 11
        check(await pair.b.append("s", vectors[11:], 11), vectors)


async def test_what_a_server_has_lost_is_told_by_another_replica(redis):
    """409 with the true position: the caller sends the rest again."""
    fleet, vectors = f"told{next(FLEETS)}", unit_vectors(12)
    async with replicas(redis.url, "a", "b", fleet=fleet) as pair:
        await pair.a.append("s", vectors[:10], 0)
        lose(redis, fleet, 4)
        with pytest.raises(Conflict) as raised:
            await pair.b.append("s", vectors[10:], 10)
        assert raised.value.details == {"position": 6}
        check(await pair.b.append("s", vectors[6:], 6), vectors)
        # And the copy of the other one is not used: four of its vectors were lost.
        more = unit_vectors(1, seed=8)
        check(await pair.a.append("s", more, 12), np.concatenate([vectors, more]))


async def test_a_session_that_a_server_has_lost_is_unknown(server):
    vectors = unit_vectors(4)
    replica = await redis_replica(server.url)
    await replica.append("s", vectors[:3], 0)
    server.command("FLUSHALL")
    with pytest.raises(NotFound):
        await replica.append("s", vectors[3:], 3)
    check(await replica.append("s", vectors, 0), vectors)
    await replica.close()


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_refuse_answers_503_until_the_store_is_back(server, durability):
    """And counts against no version."""
    vectors = unit_vectors(6)
    replica = await redis_replica(server.url, durability=durability, store_timeout_seconds=0.1)
    await replica.append("s", vectors[:3], 0)
    server.kill()
    while replica.store._calls.client.reachable:
        await asyncio.sleep(0)
    for session, position in (("s", 3), ("s", 0), ("other", 0), ("other", None)):
        with pytest.raises(StoreUnavailable) as raised:
            await replica.append(session, vectors[3:4], position)
        assert raised.value.retry_after == 1.0
    for work in (replica.store.read("s"), replica.store.delete("s")):
        with pytest.raises(StoreUnavailable):
            await work
    counted = replica.metrics.requests.labels("stable", "phase-2", Mode.STEP, RequestOutcome.ERROR)
    assert counted._value.get() == 0
    await asyncio.to_thread(server.start)
    while not replica.store._calls.client.up:
        await asyncio.sleep(0)
    check(await replica.append("s", vectors[3:], 3), vectors)
    await replica.close()


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_serve_goes_on_from_memory_and_stores_it_later(server, durability):
    """Under its own fence; a conflict cannot be told without the store."""
    vectors = unit_vectors(20)
    settings = {"durability": durability, "when_store_down": "serve", "store_timeout_seconds": 0.1}
    async with replicas(server.url, "a", "b", **settings) as pair:
        await pair.a.append("s", vectors[:3], 0)
        server.kill()
        for position in range(3, 19):
            rows = vectors[position : position + 1]
            check(await pair.a.append("s", rows, position), vectors[: position + 1])
        assert pair.a.store.backlog_vectors == 16
        assert (await pair.a.store.read("s")).length == 19
        with pytest.raises(StoreUnavailable):
            await pair.a.append("s", vectors[:1], 7)
        with pytest.raises(StoreUnavailable):
            await pair.b.append("s", vectors[19:], 19)
        assert pair.a.store.backlog_vectors == 16
        await asyncio.to_thread(server.start)
        while pair.a.store.backlog_vectors or not pair.b.store._calls.client.up:
            await asyncio.sleep(0)
        check(await pair.b.append("s", vectors[19:], 19), vectors)
        assert pair.a.value("nextvec_session_lost_vectors_total") == 0


async def test_vectors_from_an_outage_that_another_replica_overtook_are_counted_as_lost(server):
    """The replica was cut off while the others went on."""
    vectors = unit_vectors(10)
    settings = {"when_store_down": "serve", "store_timeout_seconds": 0.1}
    async with replicas(server.url, "a", "b", **settings) as pair:
        await pair.a.append("s", vectors[:3], 0)
        client = pair.a.store._calls.client
        port = client._address.port
        object.__setattr__(client._address, "port", 1)  # cut off
        client._connection.abort()
        await pair.a.append("s", vectors[3:5], 3)
        with pytest.raises(Conflict) as raised:
            await pair.b.append("s", vectors[5:6], 5)
        assert raised.value.details == {"position": 3}
        await pair.b.append("s", unit_vectors(1, seed=9), 3)
        object.__setattr__(client._address, "port", port)
        while pair.a.store.backlog_vectors:
            await asyncio.sleep(0)
        assert pair.a.value("nextvec_session_lost_vectors_total") == 2
        with pytest.raises(Conflict) as raised:
            await pair.a.append("s", vectors[5:6], 5)
        assert raised.value.details == {"position": 4}


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_full_memory_is_429_and_nothing_is_lost(server, durability):
    vectors = unit_vectors(6)
    replica = await redis_replica(server.url, durability=durability, backlog_vectors=2)
    await replica.append("s", vectors[:3], 0)
    server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(QueueFull):
        await replica.append("other", vectors[:1], 0)
    # Async: two vectors may wait for the store.
    room = 2 if durability == "async" else 0
    for position in range(3, 3 + room):
        await replica.append("s", vectors[position : position + 1], position)
    with pytest.raises(QueueFull):
        await replica.append("s", vectors[3 + room : 4 + room], 3 + room)
    server.command("CONFIG", "SET", "maxmemory", "0")
    while replica.store.backlog_vectors:
        await asyncio.sleep(0)
    check(await replica.append("s", vectors[3 + room :], 3 + room), vectors)
    assert await replica.length("s") == 6
    await replica.close()


async def test_a_fleet_of_another_model_with_the_same_name_is_refused(redis):
    fleet = f"name{next(FLEETS)}"
    async with replicas(redis.url, "a", "b", fleet=fleet):
        redis.command("SET", f"nv:{fleet}:fleet", "fake with vectors of 8 values")
        with pytest.raises(StoreUnusable, match="vectors of 8 values"):
            await redis_replica(redis.url, fleet=fleet)


async def test_a_fleet_of_the_same_name_with_another_rollout_is_refused(redis):
    """Two installations on one server, each with its own PostgreSQL and the same `fleet.name`."""
    fleet = f"rollout{next(FLEETS)}"
    async with replicas(redis.url, "a", "b", fleet=fleet, rollout="7001/nextvec"):
        with pytest.raises(StoreUnusable, match=f"called {fleet} .* in another database"):
            await redis_replica(redis.url, fleet=fleet, rollout="7002/nextvec")


async def test_only_the_servers_clock_counts(redis):
    """A session expires by it, on every replica at once."""
    fleet = f"clock{next(FLEETS)}"
    async with replicas(redis.url, "a", "b", fleet=fleet) as pair:
        await pair.a.append("s", unit_vectors(3), 0)
        redis.command("HSET", f"nv:{fleet}:{{s}}:m", "t", "0")
        for replica in (pair.a, pair.b):
            with pytest.raises(Gone):
                await replica.append("s", unit_vectors(1), 3)
