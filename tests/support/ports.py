"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port of 127.0.0.1 that no process uses now. The kernel picks them at random, so
    that another process is unlikely to get it before the caller's server does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
