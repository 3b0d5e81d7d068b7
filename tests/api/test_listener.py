"""Connections are accepted in bursts, however long a turn of the event loop takes."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import ExitStack, asynccontextmanager

import pytest

from service.api.connection_limit import ConnectionLimit
from service.api.listener import BURST, Listener

TURNS = 4
"""Turns from an accepted connection to its protocol, with some to spare."""


class ListenerWorld:
    """A listener on a free port, and its clients."""

    def __init__(self, stack, limit):
        self.made = 0
        self._stack = stack
        self.bound = socket.create_server(("127.0.0.1", 0), backlog=4 * BURST)
        self.limit = limit

    def open(self, spare=()):
        return Listener([self.bound], self._make_protocol, self.limit, spare=spare)

    def connect(self, count, bound=None):
        address = (bound or self.bound).getsockname()
        for _ in range(count):
            self._stack.enter_context(socket.create_connection(address, 10))

    def _make_protocol(self):
        self.made += 1
        return asyncio.Protocol()


class EvictableFake:
    """A connection that waits, and notes that it was closed."""

    def __init__(self):
        self.evicted = False

    def evict(self):
        self.evicted = True


@asynccontextmanager
async def world(limit=None):
    with ExitStack() as stack:
        yield ListenerWorld(stack, limit or ConnectionLimit(1000))


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_burst_is_accepted_in_one_turn():
    """One connection a turn would let new ones wait for seconds under load."""
    async with world() as w:
        w.connect(2 * BURST)
        listener = w.open()
        await turns(TURNS)
        assert BURST <= w.made <= 2 * BURST
        listener.close()
        await listener.wait_closed()


async def test_after_the_end_nobody_is_accepted():
    async with world() as w:
        listener = w.open()
        address = w.bound.getsockname()
        listener.close()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 10)
        await turns(TURNS)
        assert w.made == 0


async def test_a_process_that_hangs_leaves_its_connections_to_others():
    """They come a little later."""
    async with world() as w:
        spare = socket.create_server(("127.0.0.1", 0))
        spare.settimeout(0)
        listener = w.open(spare=[spare])
        w.connect(3, spare)
        async with asyncio.timeout(10):
            while w.made < 3:
                await asyncio.sleep(0.01)
        listener.close()
        await listener.wait_closed()


async def test_without_descriptors_a_waiting_connection_makes_room(caplog):
    """And the listener goes on."""
    limit, waiting = ConnectionLimit(1000), EvictableFake()
    limit.add(waiting)
    async with world(limit) as w:
        failures = [OSError(errno.EMFILE, "Too many open files")]

        class FullSocket(socket.socket):
            def accept(self):
                if failures:
                    raise failures.pop()
                return super().accept()

        w.bound = FullSocket(fileno=w.bound.detach())
        w.connect(1)
        listener = w.open()
        async with asyncio.timeout(10):
            while not w.made:
                await asyncio.sleep(0.01)
        assert waiting.evicted
        assert "Too many open files" in caplog.text
        listener.close()
        await listener.wait_closed()
