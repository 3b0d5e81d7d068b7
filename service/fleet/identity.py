"""Who this process is in its fleet."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass

MAX_REPLICA = 128
"""Characters of the longest name of a replica."""


@dataclass(frozen=True, slots=True)
class FleetIdentity:
    """One process of a fleet.

    `name` is the fleet's, and `replica` this replica's, for people: two processes may have the
    same one for a moment, when one takes the place of another. `boot` is new in every process.
    It is what tells apart whose counts and whose locks something is.
    """

    name: str
    replica: str
    boot: str


def identify(name: str, replica: str | None, port: int) -> FleetIdentity:
    """The identity of this process, with a new `boot`.

    Without a `replica`, its name is that of the host and the `port`: pods have a host name each,
    and the replicas on one machine have a port each.
    """
    return FleetIdentity(name, replica or _default_replica(port), secrets.token_hex(8))


def _default_replica(port: int) -> str:
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-") or "replica"
    suffix = f"-{port}"
    return f"{host[: MAX_REPLICA - len(suffix)]}{suffix}"
