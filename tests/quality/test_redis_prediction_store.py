"""Predictions that wait for their labels where the sessions are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from service.errors import Gone, NotFound, StoreUnavailable
from service.quality.redis_prediction_store import RedisPredictionStore, decode, encode
from service.redis.address import RedisAddress
from service.redis.client import RedisClient
from service.redis.library import load_library
from service.types import Variant
from tests.support.fakes import unit_vectors
from tests.support.quality_fakes import prediction
from tests.support.redis_server import redis_server
from tests.support.tools import need

pytestmark = need("redis-server")

MADE = prediction(unit_vectors(1)[0], "key\ud800", variant=Variant.CANARY, single_use=True)
ME, YOU = b"me", b"you"
FLEETS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def stores(server):
    """A function that returns the store of one more replica of a fleet."""
    fleet, clients = f"f{next(FLEETS)}", []

    async def connect(ttl_seconds=60.0):
        client = RedisClient(
            RedisAddress(server.url, "127.0.0.1", server.port),
            load_library(),
            timeout_seconds=2.0,
            name="tests",
        )
        await client.start()
        clients.append(client)
        return RedisPredictionStore(client, fleet, ttl_seconds)

    yield connect
    for client in clients:
        await client.close()


async def test_any_replica_takes_a_prediction_once(stores):
    a, b = await stores(), await stores()
    a.keep(ME, "call-1", MADE)
    with pytest.raises(NotFound):
        await a.take(ME, "call-2")  # answered after the prediction was kept
    taken = await b.take(ME, "call-1")
    np.testing.assert_allclose(MADE.vector, taken.vector, atol=1e-3)
    assert MADE._replace(vector=None) == taken._replace(vector=None)
    for store in (a, b):
        assert await store.take(ME, "call-1") is None


async def test_a_caller_cannot_label_the_prediction_of_another(stores):
    store = await stores()
    store.keep(ME, "call-1", MADE)
    for caller, request_id in ((YOU, "call-1"), (ME, "call-2")):
        with pytest.raises(NotFound) as raised:
            await store.take(caller, request_id)
        assert raised.value.code == "prediction_not_found"


async def test_an_expired_one_is_gone(stores, server):
    """By the server's clock."""
    store = await stores()
    store.keep(ME, "call-1", MADE)
    with pytest.raises(NotFound):
        await store.take(ME, "call-2")
    server.command("HSET", store._keys(ME, "call-1")[0], "t", "0")
    with pytest.raises(Gone) as raised:
        await store.take(ME, "call-1")
    assert raised.value.code == "prediction_gone"


async def test_an_id_used_again_stands_for_the_later_prediction(stores):
    store = await stores()
    store.keep(ME, "call-1", MADE)
    await store.take(ME, "call-1")
    store.keep(ME, "call-1", MADE._replace(key="later"))
    assert (await store.take(ME, "call-1")).key == "later"


async def test_a_store_that_is_away_is_told(stores):
    """A prediction that cannot be kept costs its caller nothing."""
    store = await stores()
    await store._client.close()
    store.keep(ME, "call-1", MADE)
    with pytest.raises(StoreUnavailable):
        await store.take(ME, "call-1")


@pytest.mark.parametrize("content", [b"", b"{}", b"\n", b"[1]\n", encode(MADE)[:-1], b"\xff\n\x00"])
def test_what_another_release_wrote_is_no_prediction(content):
    assert decode(content) is None
