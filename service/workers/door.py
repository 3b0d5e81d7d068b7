"""How a worker opens connections to the engine process.

Between them is a pair of sockets that the supervisor made. The worker sends one end of a new
pair through it. There are no socket files: none is left behind, and nobody else can connect.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)

_LINK, _HTTP = b"L", b"H"


def make_door() -> tuple[socket.socket, socket.socket]:
    """Return the worker's end and the engine process's end. Neither blocks."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setblocking(False)  # noqa: FBT003  the only parameter
    return pair


def open_link(door: socket.socket, arena: int) -> socket.socket:
    """Return the worker's end of a new stream for frames, beside the `arena`'s descriptor.

    Raises `OSError` if the engine process has ended or takes no connections.
    """
    return _open(door, _LINK, [arena])


def open_http(door: socket.socket) -> socket.socket:
    """Return the worker's end of a new stream for HTTP. Raises `OSError`."""
    return _open(door, _HTTP, [])


def _open(door: socket.socket, kind: bytes, more: list[int]) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        try:
            socket.send_fds(door, [kind], [theirs.fileno(), *more])
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)  # noqa: FBT003  the only parameter
    return ours


class DoorListener:
    """The engine process's side of all doors. uvicorn uses it as its server object.

    `make_http()` returns a protocol for HTTP, and `make_link(arena)` one for frames, which owns
    the descriptor `arena`.
    """

    def __init__(
        self,
        doors: Iterable[socket.socket],
        make_http: Callable[[], asyncio.Protocol],
        make_link: Callable[[int], asyncio.Protocol],
    ) -> None:
        self.sockets = tuple(doors)
        self._make_http = make_http
        self._make_link = make_link
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        for door in self.sockets:
            self._loop.add_reader(door.fileno(), self._accept, door)

    def close(self) -> None:
        """Take no more connections."""
        for door in self.sockets:
            if door.fileno() >= 0:
                self._loop.remove_reader(door.fileno())
                door.close()

    async def wait_closed(self) -> None:
        """Wait for the connections that are being opened."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _accept(self, door: socket.socket) -> None:
        try:
            kind, descriptors, _, _ = socket.recv_fds(door, 16, 2)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            logger.warning("cannot take a worker's connection: %s", error)
            return
        if not kind and not descriptors:  # the supervisor has ended, and this process with it
            self._loop.remove_reader(door.fileno())
            return
        if (kind, len(descriptors)) == (_LINK, 2):
            stream, arena = descriptors
            self._open(stream, lambda: self._make_link(arena))
        elif (kind, len(descriptors)) == (_HTTP, 1):
            self._open(descriptors[0], self._make_http)
        else:
            logger.error("a worker sent %d descriptors as %r", len(descriptors), kind)
            for descriptor in descriptors:
                os.close(descriptor)

    def _open(self, descriptor: int, make: Callable[[], asyncio.Protocol]) -> None:
        stream = socket.socket(fileno=descriptor)
        stream.setblocking(False)  # noqa: FBT003  the only parameter
        task: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(make, stream)
        )
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
