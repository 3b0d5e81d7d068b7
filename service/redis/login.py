"""What is said on a new connection: log-in, the check of the server, and the functions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import hiredis

from service.errors import StoreUnusable
from service.redis.address import RedisAddress
from service.redis.connection import RedisConnection, Reply
from service.redis.failures import RedisDownError
from service.redis.library import FunctionLibrary
from service.redis.server_check import parse_info, unusable

RECONNECT_ON = frozenset({"READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "UNBLOCKED"})
"""Answers of a server that is not, or not yet, the one to talk to."""

_ADVICE = {
    "WRONGPASS": " (check the user and the password of sessions.url and sessions.password)",
    "NOAUTH": " (set sessions.password, or user and password in sessions.url)",
    "NOPERM": " (the user needs the permissions listed in docs/explanation/sessions-in-a-fleet.md)",
}


async def log_in(
    connection: RedisConnection, address: RedisAddress, library: FunctionLibrary, name: str
) -> None:
    """Log in, check the server, and load the library if it lacks it.

    `name` is shown in the server's list of connections. Raises `StoreUnusable` if the server
    refuses or must not be used, and `RedisDownError` if it cannot answer yet.
    """
    if address.password:
        user = (address.user,) if address.user else ()
        await _ask(connection, address, "AUTH", *user, address.password)
    if address.database:
        await _ask(connection, address, "SELECT", str(address.database))
    info = parse_info((await _ask(connection, address, "INFO")).decode("utf-8", "replace"))
    fault = unusable(info)
    if fault is not None:
        raise StoreUnusable(f"the session store {address.shown} cannot be used: {fault}")
    with suppress(StoreUnusable):  # for people who look at the server; nothing depends on it
        await _ask(connection, address, "CLIENT", "SETNAME", name)
    if await _ask(connection, address, "FUNCTION", "LIST", "LIBRARYNAME", library.name):
        return
    try:
        await _ask(connection, address, "FUNCTION", "LOAD", library.code)
    except StoreUnusable as error:
        # Another replica was faster.
        if "already exists" not in str(error):
            raise


async def _ask(connection: RedisConnection, address: RedisAddress, *command: str) -> Any:
    """Send a command and return its reply. Raises as `log_in`."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(reply: Reply) -> None:
        if not future.done():
            future.set_result(reply)

    # The package's type allows tuples of one.
    packed = hiredis.pack_command(command)  # type: ignore[arg-type]
    connection.send(packed, settle)
    reply = await future
    if isinstance(reply, RedisDownError):
        raise reply
    if isinstance(reply, hiredis.ReplyError):
        code = str(reply).partition(" ")[0]
        if code in RECONNECT_ON - {"NOAUTH", "READONLY"}:
            raise RedisDownError(str(reply))
        advice = _ADVICE.get(code, "")
        raise StoreUnusable(
            f"the session store {address.shown} refuses {command[0]}: {reply}{advice}"
        )
    return reply
