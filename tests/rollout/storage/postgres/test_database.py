"""Bad days of the database at a start: each says what is wrong, and none shows the password."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from types import SimpleNamespace

import pytest

from service.rollout.storage.errors import StoreError
from service.rollout.storage.postgres.address import parse_address
from service.rollout.storage.postgres.connection import PostgresConnection
from service.rollout.storage.postgres.database import PostgresDatabase
from service.rollout.storage.postgres.schema import SCHEMA, migrate
from tests.support.ports import free_port
from tests.support.postgres_fleet import FleetOnPostgres
from tests.support.postgres_server import PASSWORD, QUOTED

pytestmark = pytest.mark.slow

SECRET = "s3cret-of-the-test"


def database_at(url):
    return PostgresDatabase(parse_address(url), secrets.token_hex(4), "one")


async def refusal(url, wait_seconds=0.0):
    """The error of a start, as text."""
    database = database_at(url)
    with pytest.raises(StoreError) as caught:
        await database.open(wait_seconds)
    await database.close()
    shown = f"{caught.value} {caught.value!r}"
    assert PASSWORD not in shown
    assert QUOTED not in shown
    assert SECRET not in shown
    return str(caught.value)


@pytest.fixture
def own_database(postgres):
    """The URL of a database that no other test uses."""
    name = f"own_{secrets.token_hex(4)}"
    postgres.sql(f"CREATE DATABASE {name}")
    return f"{postgres.url.rpartition('/')[0]}/{name}"


async def test_a_wrong_password_is_refused_at_once(postgres):
    url = postgres.url.replace(QUOTED, SECRET)
    text = await refusal(url, wait_seconds=600)
    assert "password authentication failed" in text
    assert "check rollout.url and rollout.password" in text


async def test_a_missing_database_is_named(postgres):
    assert 'database "nowhere" does not exist' in await refusal(
        f"{postgres.url.rpartition('/')[0]}/nowhere", wait_seconds=600
    )


async def test_a_server_that_is_not_there_is_named_with_its_port():
    port = free_port()
    text = await refusal(f"postgresql://nextvec:{SECRET}@127.0.0.1:{port}/nextvec")
    assert f"PostgreSQL at 127.0.0.1:{port}/nextvec cannot be reached" in text


async def test_a_start_waits_for_a_server_that_comes_late(postgres):
    """As in a compose file, where all start together."""
    port = free_port()
    database = database_at(postgres.url.replace(f":{postgres.port}/", f":{port}/"))
    starting = asyncio.create_task(database.open(60.0))
    await asyncio.sleep(0)
    async with forwarding(port, postgres.port):
        await starting
        await database.close()


async def test_another_kind_of_server_is_an_error():
    async def shout(_reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        text = await refusal(f"postgresql://nextvec:{SECRET}@127.0.0.1:{port}/nextvec")
    assert f"127.0.0.1:{port}" in text


async def test_tables_of_a_newer_nextvec_are_refused(postgres, own_database):
    fleet = FleetOnPostgres(own_database)
    await fleet.join("one")
    await fleet.close()
    name = own_database.rpartition("/")[2]
    postgres.sql(f"UPDATE nextvec.schema_version SET version = {SCHEMA + 1}", database=name)
    text = await refusal(own_database, wait_seconds=600)
    assert f"tables of a newer nextvec (schema {SCHEMA + 1}" in text


async def test_replicas_that_start_together_create_the_tables_once(own_database):
    fleets = [FleetOnPostgres(own_database) for _ in range(4)]
    await asyncio.gather(*(fleet.join("one") for fleet in fleets))
    for fleet in fleets:
        await fleet.close()


async def test_a_server_that_is_too_old_is_refused():
    connection = SimpleNamespace(get_server_version=lambda: SimpleNamespace(major=12))
    with pytest.raises(StoreError, match="PostgreSQL 12; nextvec needs 13"):
        await migrate(connection, "the server")


async def test_a_user_without_rights_learns_what_to_do(postgres, own_database):
    user = f"user_{secrets.token_hex(4)}"
    postgres.sql(f"CREATE USER {user} PASSWORD '{SECRET}'")
    url = own_database.replace(f"nextvec:{QUOTED}", f"{user}:{SECRET}")
    assert "CREATE SCHEMA nextvec AUTHORIZATION" in await refusal(url)


@contextlib.asynccontextmanager
async def forwarding(port, target):
    """A proxy; `hole` makes it swallow everything while the connections stay open."""
    state = SimpleNamespace(hole=False)
    writers = []

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not state.hole:
                    writer.write(data)
            writer.close()

    async def connect(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", target)
        writers.extend([writer, back])
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield state
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0.05)


async def test_a_connection_that_hangs_is_given_up_and_opened_again(postgres):
    """A cable that is cut sends no farewell."""
    port = free_port()
    async with forwarding(port, postgres.port) as proxy:
        url = postgres.url.replace(f":{postgres.port}/", f":{port}/")
        connection = PostgresConnection(parse_address(url), "test", seconds=1.0)

        async def one(there):
            return await there.fetchval("SELECT 1")

        assert 1 == await connection.run(one)
        proxy.hole = True
        with pytest.raises(StoreError, match="did not answer in 1 s"):
            await connection.run(one)
        # Not the new connection either.
        with pytest.raises(StoreError):
            await connection.run(one)
        proxy.hole = False
        assert 1 == await connection.run(one)
        await connection.close()
