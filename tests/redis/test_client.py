"""The client against real servers: log-in, bad days, and calls that are sent again."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from service.errors import StoreUnavailable, StoreUnusable
from service.redis.address import RedisAddress
from service.redis.client import RedisClient
from service.redis.failures import RedisDownError, RedisRefusalError
from service.redis.library import load_library
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.tls_files import make_certificate
from tests.support.tools import need

pytestmark = need("redis-server")

KEYS = (b"nv:t:{s}:m", b"nv:t:{s}:h", b"nv:t:{s}:s")
PERMISSIONS = (
    "+@connection +@hash +@list +@string +@sortedset +@keyspace +time +info +fcall "
    "+function|list +function|load"
)
READ = ("read", KEYS, "", 60_000)


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path) as running:
        yield running


def client_of(server, *, timeout=2.0, **address):
    fields = {"shown": server.url, "host": "127.0.0.1", "port": server.port, **address}
    failures = []
    client = RedisClient(
        RedisAddress(**fields),
        load_library(),
        timeout_seconds=timeout,
        name="tests",
        on_failure=failures.append,
        start_seconds=0.2,
    )
    client.failures = failures
    return client


async def reads(client):
    return await client.call(*READ)


async def test_many_calls_at_once_get_their_own_replies(server):
    """They go out together."""
    client = client_of(server)
    await client.start()
    replies = await asyncio.gather(
        *[client.call("enlist", (b"nv:t:%d" % number,), 1000, f"{number}") for number in range(500)]
    )
    assert [int(reply) for reply in replies] == list(range(500))
    await client.close()


@pytest.mark.parametrize("user", ["", "nextvec"])
async def test_a_log_in_with_a_password(tmp_path, user):
    """And a refusal without it, that does not show it."""
    with redis_server(tmp_path) as server:
        server.command("ACL", "SETUSER", "nextvec", "on", ">open-sesame", "~*", "+@all")
        server.command("CONFIG", "SET", "requirepass", "open-sesame")
        client = client_of(server, user=user, password="open-sesame")
        await client.start()
        assert await reads(client) == [b"unknown"]
        await client.close()
        for wrong in ("", "wrong-one"):
            with pytest.raises(StoreUnusable) as raised:
                await client_of(server, user=user, password=wrong).start()
            assert "password" in str(raised.value)
            assert "wrong-one" not in str(raised.value)


async def test_the_documented_permissions_suffice(server):
    """For every function."""
    server.command("ACL", "SETUSER", "nextvec", "on", ">secret", "~nv:*", *PERMISSIONS.split())
    client = client_of(server, user="nextvec", password="secret")
    await client.start()
    held = await client.call("claim", KEYS, "r", "", 4, 60_000, 1, "0", 0, 10)
    fence = held[1]
    row = (fence, 0, 1, 0, b"d", "v", "stable", 60_000, 10, b"row1")
    assert await client.call("append", KEYS, *row) == [b"stored"]
    assert await client.call("checkpoint", KEYS, fence, 1, 60_000, b"x") == 1
    assert await client.call("undo", KEYS, fence, 1, 1, "", "") == 1
    assert await client.call("finish", KEYS, fence, 0, 60_000) == [b"stored"]
    assert await client.call("delete", KEYS, "", 60_000) == [b"unknown"]
    assert await reads(client) == [b"unknown"]
    assert await client.call("await", (b"nv:t:p",), 60_000, b"x") == 1
    assert await client.call("take", (b"nv:t:p",), 60_000, b"t") == [b"taken", b"x"]
    assert await client.call("enlist", (b"nv:t:f",), 1000, "x") == b"x"
    assert await client.call("admit", (b"nv:t:o",), "s", 1000, 1) == [1]
    assert await client.call("dismiss", (b"nv:t:o",), "s") == 1
    await client.close()
    server.command("ACL", "SETUSER", "nextvec", "-info")
    with pytest.raises(StoreUnusable, match="permissions"):
        await client_of(server, user="nextvec", password="secret").start()


async def test_another_database_is_selected(server):
    client = client_of(server, database=3)
    await client.start()
    await client.call("enlist", (b"nv:t:f",), 60_000, "x")
    await client.close()
    assert server.command("DBSIZE") == 0
    with pytest.raises(StoreUnusable, match="SELECT"):
        await client_of(server, database=99).start()


async def test_a_unix_socket(tmp_path):
    path = str(tmp_path / "s")
    with redis_server(tmp_path, unixsocket=path) as server:
        client = client_of(server, path=path)
        await client.start()
        assert await reads(client) == [b"unknown"]
        await client.close()


async def test_tls(tmp_path):
    """With the authority of the server, and not without it."""
    make_certificate(tmp_path)
    certificate = str(tmp_path / "tls.crt")
    files = {"tls_cert_file": certificate, "tls_key_file": str(tmp_path / "tls.key")}
    with redis_server(tmp_path, tls_auth_clients="no", **files) as server:
        port = server.add_tls_port()
        trusting = ssl.create_default_context(cafile=certificate)
        client = client_of(server, port=port, tls=trusting)
        await client.start()
        assert await reads(client) == [b"unknown"]
        await client.close()
        with pytest.raises(StoreUnavailable, match="certificate"):
            await client_of(server, port=port, tls=ssl.create_default_context()).start()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("maxmemory_policy", "allkeys-lru", "allkeys-lru"), ("cluster_enabled", "yes", "Cluster")],
)
async def test_a_server_that_must_not_be_used_is_refused_at_start(tmp_path, option, value, said):
    options = {option: value, "cluster_port": str(free_port())}
    with redis_server(tmp_path, **options) as server, pytest.raises(StoreUnusable, match=said):
        await client_of(server).start()


async def test_nobody_at_the_address(server):
    """An unknown host is told at once, a server that may still come after some seconds."""
    server.kill()
    with pytest.raises(StoreUnavailable, match=server.url):
        await client_of(server).start()
    with pytest.raises(StoreUnavailable, match=server.url):
        await client_of(server, host="nobody.invalid").start()


async def test_a_primary_that_becomes_a_replica_is_left(server):
    """Until it is a primary again: the calls that wait are sent then."""
    client = client_of(server, timeout=10.0)
    await client.start()
    server.command("REPLICAOF", "127.0.0.1", "1")
    call = client.call("enlist", (b"nv:t:f",), 60_000, "x")
    while client.up:
        await asyncio.sleep(0)
    with pytest.raises(StoreUnusable, match="read-only"):
        await client_of(server).start()
    server.command("REPLICAOF", "NO", "ONE")
    assert await call == b"x"
    await client.close()


async def test_functions_that_were_flushed_are_loaded_again(server):
    """A failover may lead to a server without them."""
    client = client_of(server)
    await client.start()
    server.command("FUNCTION", "FLUSH")
    assert await reads(client) == [b"unknown"]
    await client.close()


async def test_the_library_of_another_release_stays(server):
    other = (
        "#!lua name=nextvec_000000000000\nredis.register_function('nextvec_0_x', function() end)"
    )
    server.command("FUNCTION", "LOAD", other)
    client = client_of(server)
    await client.start()
    assert await reads(client) == [b"unknown"]
    await client.close()
    assert len(server.command("FUNCTION", "LIST")) == 2


async def test_a_full_memory_refuses_what_adds_and_allows_what_frees(server):
    client = client_of(server)
    await client.start()
    server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(RedisRefusalError) as raised:
        await client.call("claim", KEYS, "r", "", 4, 60_000, 1, "0", 0, 10)
    assert raised.value.code == "OOM"
    assert await client.call("delete", KEYS, "", 60_000) == [b"unknown"]
    assert client.failures == ["OOM"]
    await client.close()


async def test_a_full_disk_refuses(tmp_path):
    """The server cannot save, and takes no writes any more."""
    with redis_server(tmp_path, save="3600 1") as server:
        (tmp_path / "dump.rdb").mkdir()
        client = client_of(server)
        await client.start()
        await client.call("enlist", (b"nv:t:f",), 60_000, "x")
        server.command("BGSAVE")
        while b"rdb_last_bgsave_status:err" not in server.command("INFO", "persistence"):
            await asyncio.sleep(0)
        with pytest.raises(RedisRefusalError) as raised:
            await client.call("enlist", (b"nv:t:f",), 60_000, "x")
        assert raised.value.code == "MISCONF"
        await client.close()


async def test_calls_on_a_lost_connection_are_sent_again(server):
    client = client_of(server, timeout=20.0)
    await client.start()
    call = reads(client)
    client._connection.abort()
    assert await call == [b"unknown"]
    server.kill()
    while client.up:
        await asyncio.sleep(0)
    waiting = asyncio.create_task(reads(client))
    await asyncio.to_thread(server.start)
    assert await waiting == [b"unknown"]
    await client.close()


async def test_a_server_that_does_not_answer_counts_as_down(server):
    """After the time limit; calls then fail at once, until it is back."""
    ups = []
    client = client_of(server, timeout=0.1)
    client.on_up.append(lambda: ups.append(1))
    await client.start()
    server.stop()
    with pytest.raises(RedisDownError):
        await reads(client)
    assert not client.up
    while client.reachable:
        await asyncio.sleep(0)
    with pytest.raises(RedisDownError, match="cannot be reached"):
        await reads(client)
    assert client.failures == ["timeout", "down"]
    server.resume()
    while not client.up:
        await asyncio.sleep(0)
    assert await reads(client) == [b"unknown"]
    assert len(ups) == 2
    await client.close()


async def test_a_closed_client_answers_nothing(server):
    client = client_of(server)
    await client.start()
    call = client.call(*READ)
    await client.close()
    for each in (call, client.call(*READ)):
        with pytest.raises(RedisDownError):
            await each


async def test_what_is_no_server_of_this_protocol_is_told(server):
    """The address of a web server, for example."""

    async def answer(_reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    web = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = web.sockets[0].getsockname()[1]
    with pytest.raises(StoreUnavailable, match="connection was lost"):
        await client_of(server, port=port).start()
    web.close()
