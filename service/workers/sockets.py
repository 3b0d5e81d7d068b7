"""The listening sockets of the workers: each has its own, and all have the same port.

With one shared socket, whichever worker wakes up first takes all the connections of a burst, and
keeps them (ADR 35). With a socket each, the kernel spreads them.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from service.api.listener import bind


async def bind_workers(host: str, port: int, workers: int) -> list[list[socket.socket]]:
    """Return for each worker a bound socket for every address of `host`. None listens yet.

    Raises `OSError`, also if another server has the address: the sockets would share it.
    """
    probes = await bind(host, port)
    addresses = [(probe.family, probe.getsockname()) for probe in probes]
    for probe in probes:
        probe.close()
    found: list[list[socket.socket]] = []
    try:
        for _ in range(workers):
            found.append([])
            for family, address in addresses:
                found[-1].append(_bind(family, address))
    except OSError:
        close_all(found)
        raise
    return found


def _bind(family: int, address: object) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)  # type: ignore[arg-type]  # as `getsockname` returned it
    except OSError:
        bound.close()
        raise
    return bound


def close_all(sockets: list[list[socket.socket]]) -> None:
    """Close the sockets. Connections that nobody has accepted are refused, in all processes."""
    for each in sockets:
        for bound in each:
            if bound.fileno() >= 0:
                with suppress(OSError):  # it did not listen
                    bound.shutdown(socket.SHUT_RDWR)
                bound.close()
