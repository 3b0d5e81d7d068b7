"""Sessions that outlive their replica: claims, fences, retries, eviction."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import SessionStart
from service.errors import CallerLimited, Conflict, EngineFault, Gone, NotFound, QueueFull
from service.prediction.request import RequestOptions
from tests.support.fakes import fault, unit_vectors
from tests.support.session_worlds import HISTORY, check, redis_replica, replicas

pytestmark = pytest.mark.slow

FLEETS = itertools.count()


@pytest.fixture(params=["sync", "async"])
async def pair(redis, request):
    """Two replicas, `a` and `b`, of one fleet."""
    fleet = f"pair{next(FLEETS)}"
    async with replicas(redis.url, "a", "b", durability=request.param, fleet=fleet) as made:
        yield made


@pytest.fixture
async def sync_pair(redis):
    async with replicas(redis.url, "a", "b", fleet=f"sync{next(FLEETS)}") as made:
        yield made


@pytest.fixture
async def async_pair(redis):
    fleet = f"async{next(FLEETS)}"
    async with replicas(redis.url, "a", "b", durability="async", fleet=fleet) as made:
        yield made


async def test_another_replica_goes_on_with_a_session(pair):
    """After few vectors, past a checkpoint, past the window and past what is kept."""
    vectors = unit_vectors(200)
    position = 0
    for count, replica in zip(
        (3, 1, 1, 1, 40, 1, 1, 70, 1, 1, 1), itertools.cycle([pair.a, pair.a, pair.b]), strict=False
    ):
        answer = await replica.append("s", vectors[position : position + count], position)
        position += count
        check(answer, vectors[:position])
        # Stored before the next replica goes on: with `async` the answer comes first.
        assert position == await replica.length("s")
    assert await pair.a.length("s") == await pair.b.length("s") == position
    assert pair.b.value("nextvec_session_claims_total", reason="move") >= 1


async def test_a_takeover_reads_from_the_checkpoint(redis):
    """At most 32 vectors again, and not the whole window."""
    fleet = f"checkpoint{next(FLEETS)}"
    async with replicas(redis.url, "a", "b", fleet=fleet, policy="anchored") as pair:
        vectors = unit_vectors(7)
        for position, vector in enumerate(vectors[:6]):
            await pair.a.append("s", vector[None], position)
        held = pair.a.store._sessions.get("s")
        held.checkpointed = -30  # due with the next vector
        await pair.a.append("s", vectors[6:], 6)
        await pair.a.length("s")  # a round trip later the checkpoint is stored
        await pair.b.append("s", unit_vectors(1, seed=3), 7)
        assert pair.b.engine.batches == [[1]]


@pytest.mark.parametrize("version", ["phase-2", "phase-3"])
async def test_a_checkpoint_of_another_graph_is_not_used(sync_pair, version):
    """The session is read again from its vectors."""
    pair, vectors = sync_pair, unit_vectors(40)
    await pair.a.append("s", vectors[:39], 0)
    decay = {"phase-2": 0.5, "phase-3": 0.9}[version]
    answer = await pair.b.dispatch.append(
        "s", vectors[39:], RequestOptions(version=version), position=39
    )
    check(answer, vectors, decay=decay)


async def test_a_retry_on_another_replica_is_answered_and_stored_once(sync_pair):
    """Wherever the last checkpoint is."""
    pair, vectors = sync_pair, unit_vectors(45)
    for begin, end in itertools.pairwise((0, 3, 4, 44, 45)):
        first = await pair.a.append("s", vectors[begin:end], begin)
        again = await pair.b.append("s", vectors[begin:end], begin)
        check(again, vectors[:end])
        assert first.length == again.length == end
        np.testing.assert_array_equal(
            again.vector, (await pair.b.append("s", vectors[begin:end], begin)).vector
        )
    assert await pair.a.length("s") == 45


async def test_a_stale_copy_never_says_conflict(sync_pair):
    """It claims first: the caller is right, and the copy is old."""
    pair, vectors = sync_pair, unit_vectors(8)
    await pair.a.append("s", vectors[:3], 0)
    await pair.b.append("s", vectors[3:6], 3)
    check(await pair.a.append("s", vectors[6:7], 6), vectors[:7])
    with pytest.raises(Conflict) as raised:
        await pair.b.append("s", vectors[7:], 9)
    assert raised.value.details == {"position": 7}


async def test_a_stale_copy_never_repeats_an_answer_from_memory(sync_pair):
    """The session was deleted and begun again elsewhere."""
    pair, old, new = sync_pair, unit_vectors(3), unit_vectors(3, seed=4)
    await pair.a.append("s", old, 0)
    await pair.b.store.delete("s")
    await pair.b.append("s", new, 0)
    with pytest.raises(Conflict):
        await pair.a.append("s", old, 0)
    check(await pair.a.append("s", new, 0), new)


async def test_a_fenced_step_runs_again_on_what_is_stored(pair):
    """The copy has the caller's length by chance, and other vectors."""
    old, new, more = unit_vectors(3), unit_vectors(3, seed=4), unit_vectors(1, seed=5)
    await pair.a.append("s", old, 0)
    await pair.b.store.delete("s")
    await pair.b.append("s", new, 0)
    pair.a.store._sessions.get("s").confirmed = -1e9  # async: too long ago to answer ahead
    check(await pair.a.append("s", more, 3), [*new, *more])
    assert pair.a.value("nextvec_session_fenced_writes_total") == 1
    assert pair.a.value("nextvec_session_claims_total", reason="fenced") == 1


async def test_an_append_without_a_position_waits_for_the_store(pair):
    """A copy that is out of date would answer from another context."""
    vectors = unit_vectors(6)
    await pair.a.append("s", vectors[:3])
    await pair.b.append("s", vectors[3:5])
    check(await pair.a.append("s", vectors[5:]), vectors)


async def test_two_replicas_may_serve_one_session_at_the_same_time(sync_pair):
    """Every append is stored once, in some order."""
    pair = sync_pair
    rows = unit_vectors(24, seed=7)
    answers = await asyncio.gather(
        *[
            (pair.a if number % 2 else pair.b).append("s", row[None])
            for number, row in enumerate(rows)
        ]
    )
    assert sorted(answer.length for answer in answers) == list(range(1, 25))
    order = [
        row
        for _, row in sorted(
            zip([a.length for a in answers], rows, strict=True), key=lambda p: p[0]
        )
    ]
    for answer in answers:
        check(answer, np.array(order[: answer.length]))


async def test_an_engine_fault_beside_a_stored_append_takes_it_back(sync_pair):
    """For every replica."""
    pair, vectors = sync_pair, unit_vectors(5)
    await pair.a.append("s", vectors[:3], 0)
    pair.a.engine.faults.append(fault())
    with pytest.raises(EngineFault):
        await pair.a.append("s", unit_vectors(1, seed=9), 3)
    check(await pair.b.append("s", vectors[3:4], 3), vectors[:4])
    check(await pair.a.append("s", vectors[4:], 4), vectors)


async def test_the_memory_of_a_replica_is_a_cache(redis):
    """What it evicts is not gone."""
    fleet = f"cache{next(FLEETS)}"
    async with replicas(redis.url, "a", fleet=fleet, max_bytes=5000) as made:
        vectors = unit_vectors(4)
        for name in "xyzw":
            await made.a.append(name, vectors[:3], 0)
        assert len(made.a.store) < 4
        assert made.a.store.nbytes <= 5000
        for name in "xyzw":
            check(await made.a.append(name, vectors[3:], 3), vectors)


async def test_a_session_continues_after_all_replicas_have_ended(redis):
    fleet, vectors = f"restart{next(FLEETS)}", unit_vectors(50)
    async with replicas(redis.url, "a", fleet=fleet, durability="async") as made:
        for position in range(49):
            await made.a.append("s", vectors[position : position + 1], position)
    async with replicas(redis.url, "b", fleet=fleet) as made:
        check(await made.b.append("s", vectors[49:], 49), vectors)


async def test_a_deleted_session_is_unknown_everywhere(pair):
    vectors = unit_vectors(3)
    await pair.a.append("s", vectors, 0)
    await pair.b.length("s")
    await pair.b.store.delete("s")
    with pytest.raises(NotFound):
        await pair.a.store.read("s")
    with pytest.raises(NotFound):
        await pair.b.append("s", unit_vectors(1), 3)
    with pytest.raises(NotFound):
        await pair.a.append("s", unit_vectors(1), begin=SessionStart.NEVER)


async def test_a_deletion_elsewhere_is_told_although_answers_go_ahead(async_pair):
    """The append that met it is counted as lost. The next one is 404, even if it has begun."""
    vectors, a = unit_vectors(5), async_pair.a
    await a.append("s", vectors[:3], 0)
    await async_pair.b.store.delete("s")
    await a.append("s", vectors[3:4], 3)
    a.engine.gate.clear()
    next_one = asyncio.ensure_future(a.append("s", vectors[4:], 4))
    while not a.value("nextvec_session_lost_vectors_total"):
        await asyncio.sleep(0)
    a.engine.gate.set()
    with pytest.raises(NotFound):
        await next_one
    assert a.value("nextvec_session_lost_vectors_total") == 1
    with pytest.raises(NotFound):
        await async_pair.b.store.read("s")


async def test_a_sequence_ends_and_restarts_on_any_replica(pair):
    vectors = unit_vectors(5)
    await pair.a.append("s", vectors[:3], begin=SessionStart.RESTART)
    check(await pair.b.append("s", vectors[3:4], begin=SessionStart.NEVER), vectors[:4])
    check(await pair.a.append("s", vectors[4:], begin=SessionStart.NEVER, end=True), vectors)
    for replica in (pair.a, pair.b):
        with pytest.raises(NotFound):
            await replica.append("s", vectors[:1], begin=SessionStart.NEVER)
    check(await pair.b.append("s", vectors[:2], begin=SessionStart.RESTART), vectors[:2])


async def test_a_restart_on_one_replica_is_seen_by_the_other(pair):
    """Its copy of the old vectors is not used."""
    old, new = unit_vectors(5), unit_vectors(6, seed=2)
    await pair.a.append("s", old, begin=SessionStart.RESTART)
    await pair.b.append("s", new[:5], begin=SessionStart.RESTART)
    check(await pair.a.append("s", new[5:], begin=SessionStart.NEVER), new)


async def test_the_owner_of_a_session_is_the_same_on_every_replica(pair):
    mine = {"a": SessionQuota("mine"), "b": SessionQuota("mine")}
    vectors = unit_vectors(4)
    await pair.a.append("s", vectors[:3], 0, owner=mine["a"])
    with pytest.raises(NotFound):
        await pair.b.append("s", vectors[3:], 3, owner=SessionQuota("yours"))
    with pytest.raises(NotFound):
        await pair.b.append("s", vectors[3:], 0)
    check(await pair.b.append("s", vectors[3:], 3, owner=mine["b"]), vectors)


async def test_an_owners_sessions_are_counted_in_the_whole_fleet(pair):
    """Those that failed, ended, were deleted or have expired are not."""
    mine = [SessionQuota("mine", max_sessions=2) for _ in range(2)]
    vectors = unit_vectors(2)
    pair.a.engine.faults.append(fault())
    with pytest.raises(EngineFault):
        await pair.a.append("failed", vectors, owner=mine[0])
    await pair.a.append("x", vectors, owner=mine[0])
    await pair.b.append("y", vectors, owner=mine[1])
    for replica, owner in zip((pair.a, pair.b), mine, strict=True):
        with pytest.raises(CallerLimited, match="has 2 sessions"):
            await replica.append("z", vectors, owner=owner)
        await replica.append("x", vectors, owner=owner)
    await pair.a.store.delete("y", mine[0])
    await pair.b.append("z", vectors, owner=mine[1], end=True)
    await pair.a.append("z", vectors, owner=mine[0])
    with pytest.raises(CallerLimited):
        await pair.b.append("y", vectors, owner=mine[1])


async def test_a_session_that_ends_while_appends_wait_has_one_copy(redis):
    """A second copy of it would be counted for its owner for ever."""
    fleet, owner = f"copies{next(FLEETS)}", SessionQuota("a", 10, 10**6)
    async with replicas(redis.url, "a", "b", fleet=fleet) as pair:
        await pair.a.append("s", unit_vectors(1), 0, owner=owner)
        await pair.b.dispatch.delete_session("s", SessionQuota("a"))
        pair.a.store._sessions.get("s").current = False
        first, second = (
            asyncio.create_task(pair.a.append("s", unit_vectors(1), position, owner=owner))
            for position in (1, None)
        )
        await asyncio.wait([first])
        third = await pair.a.append("s", unit_vectors(1), owner=owner)
        assert isinstance(first.exception(), NotFound)
        assert {1, 2} == {(await second).length, third.length}
        await pair.a.dispatch.delete_session("s", owner)
        assert (0, 0) == (owner.sessions, owner.nbytes)


async def test_vectors_of_another_width_are_gone(redis):
    """The fleet's model was replaced by one of another width."""
    fleet = f"width{next(FLEETS)}"
    async with replicas(redis.url, "a", "b", fleet=fleet) as pair:
        await pair.a.append("s", unit_vectors(3), 0)
        object.__setattr__(pair.b.store._calls.form, "dim", 8)
        with pytest.raises(Gone, match="4 values, not 8"):
            await pair.b.store.use("s", 3).__aenter__()


async def test_histories_in_eight_bits_and_in_floats_are_read_alike(redis):
    """The setting may change between two starts."""
    fleet, vectors = f"compact{next(FLEETS)}", unit_vectors(9)
    for number, compact in enumerate((True, False, True)):
        rows = slice(3 * number, 3 * number + 3)
        async with replicas(redis.url, "a", fleet=fleet, compact_history=compact) as made:
            answer = await made.a.append("s", vectors[rows], 3 * number)
    np.testing.assert_allclose(
        made.a.engine.expected(vectors), answer.vector, atol=0.02, err_msg="8 bits are close"
    )


async def test_two_fleets_on_one_server_do_not_share_sessions(redis):
    number = next(FLEETS)
    async with (
        replicas(redis.url, "a", fleet=f"one{number}") as one,
        replicas(redis.url, "a", fleet=f"two{number}") as two,
    ):
        await one.a.append("s", unit_vectors(3), 0)
        with pytest.raises(NotFound):
            await two.a.append("s", unit_vectors(1), 3)


async def test_an_answer_ahead_of_the_store_is_stored_soon(async_pair):
    vectors = unit_vectors(30)
    await async_pair.a.append("s", vectors[:3], 0)
    for position in range(3, 30):
        await async_pair.a.append("s", vectors[position : position + 1], position)
    assert await async_pair.a.length("s") == 30
    assert async_pair.a.store.backlog_vectors == 0
    check(
        await async_pair.b.append("s", unit_vectors(1, seed=3), 30),
        [*vectors, *unit_vectors(1, seed=3)],
    )


async def test_vectors_that_a_dead_replica_had_answered_and_not_stored_are_told(redis):
    """By 409 with the true position."""
    fleet, vectors = f"lost{next(FLEETS)}", unit_vectors(5)
    async with replicas(redis.url, "a", "b", fleet=fleet, durability="async") as pair:
        await pair.a.append("s", vectors[:3], 0)
        pair.a.store._calls.client._connection.send = lambda *_: None  # what it sends never arrives
        await pair.a.append("s", vectors[3:4], 3)
        with pytest.raises(Conflict) as raised:
            await pair.b.append("s", vectors[4:], 4)
        assert raised.value.details == {"position": 3}
        check(await pair.b.append("s", vectors[3:], 3), vectors)


async def test_a_full_backlog_refuses(redis):
    """Nothing is dropped without a word."""
    fleet, vectors = f"full{next(FLEETS)}", unit_vectors(100)
    replica = await redis_replica(
        redis.url, fleet=fleet, durability="async", backlog_vectors=5, when_store_down="serve"
    )
    await replica.append("s", vectors[:3], 0)
    connection = replica.store._calls.client._connection
    sent, connection.send = connection.send, lambda *_: None
    for position in range(3, 8):
        await replica.append("s", vectors[position : position + 1], position)
    with pytest.raises(QueueFull):
        await replica.append("s", vectors[8:9], 8)
    connection.send = sent
    connection.abort()  # the calls that wait are sent again
    while replica.store.backlog_vectors:
        await asyncio.sleep(0)
    check(await replica.append("s", vectors[8:9], 8), vectors[:9])
    await replica.close()


async def test_a_backlog_longer_than_the_history_is_stored_as_far_as_it_is_kept(redis):
    """The length counts every vector."""
    fleet, vectors = f"own{next(FLEETS)}", unit_vectors(2 * HISTORY)
    async with replicas(redis.url, "a", "b", fleet=fleet, durability="async") as pair:
        await pair.a.append("s", vectors[:3], 0)
        connection = pair.a.store._calls.client._connection
        sent, connection.send = connection.send, lambda *_: None
        for position in range(3, 2 * HISTORY - 1):
            await pair.a.append("s", vectors[position : position + 1], position)
        connection.send = sent
        connection.abort()
        while pair.a.store.backlog_vectors:
            await asyncio.sleep(0)
        check(await pair.b.append("s", vectors[-1:], 2 * HISTORY - 1), vectors)
        assert redis.command("LLEN", f"nv:{fleet}:{{s}}:h") == HISTORY + 1
