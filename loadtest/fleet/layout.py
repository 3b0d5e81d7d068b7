"""The folder, ports and credentials of one fleet."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from loadtest.fleet.process import FleetError

MOST_REPLICAS = 9
"""On one machine: more would only share its cores."""

_LOWEST, _HIGHEST = 10_240, 30_000


@dataclass(frozen=True)
class FleetPorts:
    """The ports on 127.0.0.1."""

    balancer: int
    replicas: tuple[int, ...]
    balancer_admin: int
    prometheus: int
    redis: int
    postgres: int

    @staticmethod
    def fixed(first: int, replicas: int) -> FleetPorts:
        """Ports that stay the same: `first` for callers, the others after it."""
        return FleetPorts(
            balancer=first,
            replicas=tuple(range(first + 1, first + 1 + replicas)),
            balancer_admin=first + 10,
            prometheus=first + 11,
            redis=first + 12,
            postgres=first + 13,
        )

    @staticmethod
    def free(replicas: int) -> FleetPorts:
        """Ports that nobody uses at the moment.

        They are below those that the system gives to outgoing connections: a replica that is
        started again must get its own.
        """
        found: list[int] = []
        while len(found) < replicas + 5:
            port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
            if port not in found and _can_bind(port):
                found.append(port)
        balancer, admin, prometheus, redis, postgres, *others = found
        return FleetPorts(balancer, tuple(others), admin, prometheus, redis, postgres)

    def check_free(self) -> None:
        """Raise `FleetError` with the ports that somebody uses."""
        wanted = [self.balancer, *self.replicas, self.balancer_admin]
        wanted += [self.prometheus, self.redis, self.postgres]
        taken = [port for port in wanted if not _can_bind(port)]
        if taken:
            listed = ", ".join(map(str, taken))
            raise FleetError(f"another process uses port {listed}; stop it, or choose with --port")


@dataclass(frozen=True)
class FleetSecrets:
    """Passwords and the approver's token. Their file can be read by its owner only."""

    redis: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    postgres: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    approver: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @staticmethod
    def kept_in(folder: Path) -> FleetSecrets:
        """Read them, or make them at the first start. Raises `FleetError`."""
        file = folder / "secrets.json"
        try:
            return FleetSecrets(**json.loads(file.read_bytes()))
        except FileNotFoundError:
            made = FleetSecrets()
            # Renamed when it is complete: a start that is killed leaves no half of it.
            new = file.with_suffix(".new")
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as output:
                json.dump(asdict(made), output)
            new.rename(file)
            return made
        except (OSError, ValueError, TypeError) as error:
            raise FleetError(
                f"{file} cannot be read ({error}); remove {folder} to begin with a new fleet"
            ) from error


def lock_folder(folder: Path) -> IO[str]:
    """Take the folder for this process until the file is closed, or the process ends.

    Raises `FleetError` if another fleet runs in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise FleetError(
            f"a fleet runs in {folder}: stop it, or choose another --folder"
        ) from error
    return file


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of an earlier one that are still being closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
