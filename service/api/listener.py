"""A listener that accepts connections in bursts.

The event loop's own server accepts one connection in a turn. Under load a turn takes
milliseconds, so that the kernel's queue fills up and new connections wait for seconds, those
of health probes among them.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence

from service.api.connection_limit import ConnectionLimit

logger = logging.getLogger(__name__)

BURST = 32
"""Connections that are accepted in one turn of the event loop."""

BACKLOG = 4096
"""Connections that the kernel keeps for this process; `net.core.somaxconn` may allow fewer."""

SPARE_SECONDS = 0.05
"""How often a listener looks for connections that no other process has accepted."""

_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_RETRY_SECONDS = 0.02


class Listener:
    """Accepts on listening sockets until `close`. uvicorn uses it as its server object.

    `spare` are sockets on which other processes listen. Connections that stay there, because
    that process has died or hangs, are accepted a little later.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make_protocol: Callable[[], asyncio.Protocol],
        connections: ConnectionLimit,
        tls: ssl.SSLContext | None = None,
        spare: Sequence[socket.socket] = (),
    ) -> None:
        self.sockets = tuple(sockets)
        self._spare = tuple(spare)
        self._make_protocol = make_protocol
        self._connections = connections
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._closed = False
        for listening in self.sockets:
            listening.setblocking(False)  # noqa: FBT003  the only parameter
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # they inherit it
            listening.listen(BACKLOG)
            self._loop.add_reader(listening.fileno(), self._accept, listening)
        if self._spare:
            self._loop.call_later(SPARE_SECONDS, self._accept_spare)

    def close(self) -> None:
        """Stop listening. Open connections stay."""
        if not self._closed:
            self._closed = True
            for listening in self.sockets:
                self._loop.remove_reader(listening.fileno())
            for listening in (*self.sockets, *self._spare):
                listening.close()

    def _accept_spare(self) -> None:
        if not self._closed:
            for listening in self._spare:
                self._accept(listening, is_spare=True)
            self._loop.call_later(SPARE_SECONDS, self._accept_spare)

    async def wait_closed(self) -> None:
        """Wait for the connections that are being opened."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _accept(self, listening: socket.socket, *, is_spare: bool = False) -> None:
        for _ in range(BURST):
            try:
                accepted = listening.accept()[0]
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if is_spare:
                    return  # its process has not begun to listen
                if error.errno in _NO_RESOURCES:
                    self._pause(listening, error)
                    return
                continue  # the caller has gone
            accepted.setblocking(False)  # noqa: FBT003  the only parameter
            task: asyncio.Task[object] = self._loop.create_task(self._open(accepted))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, accepted, ssl=self._tls)
        except (OSError, ssl.SSLError):
            accepted.close()  # the caller has gone, or the handshake failed

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """Out of descriptors: make room, and accept again a little later."""
        logger.warning("cannot accept a connection: %s", error)
        self._connections.make_room()
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(_RETRY_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listening.fileno(), self._accept, listening)


async def bind(host: str, port: int) -> list[socket.socket]:
    """Return a socket for every address of `host`. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
    try:
        return [socket.socket(fileno=os.dup(bound.fileno())) for bound in server.sockets]
    finally:
        server.close()
