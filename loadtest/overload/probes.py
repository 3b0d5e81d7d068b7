"""Probes on new connections, from a process of their own: the load generator is busy."""

from __future__ import annotations

import multiprocessing
import socket
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

PAUSE_SECONDS = 0.1
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class ProbeResult:
    """One request on a new connection. `at` counts from the epoch, `seconds` from the connect;
    `status` is 0 without a response."""

    name: str
    at: float
    seconds: float
    status: int


class ProbeProcess:
    """Sends probes in turn until `stop`: readiness, metrics, and with `token` an abort."""

    def __init__(self, host: str, port: int, token: str | None) -> None:
        requests = {"ready": ("GET", "/v2/health/ready"), "metrics": ("GET", "/metrics")}
        if token is not None:
            requests["abort"] = ("POST", "/admin/v1/rollout/abort")
        context = multiprocessing.get_context("spawn")
        self._results, child = context.Pipe()
        self._process = context.Process(
            target=_probe, args=(child, host, port, token, requests), daemon=True
        )
        self._process.start()
        self._results.recv()  # it has begun

    def stop(self) -> list[ProbeResult]:
        """End the process and return its results."""
        self._results.send(None)
        found: list[ProbeResult] = self._results.recv()
        self._process.join()
        return found


def probe(host: str, port: int, method: str, path: str, token: str | None = None) -> int:
    """Send one request on a new connection and return the status; 0 without a response."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    if method == "POST":
        lines.append("Content-Length: 0")
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    try:
        with socket.create_connection((host, port), _TIMEOUT_SECONDS) as wire:
            wire.sendall("\r\n".join([*lines, "", ""]).encode())
            head = wire.recv(65536)
            while wire.recv(65536):
                pass
        return int(head.split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _probe(
    results: Connection,
    host: str,
    port: int,
    token: str | None,
    requests: dict[str, tuple[str, str]],
) -> None:
    found: list[ProbeResult] = []
    results.send(None)
    while not results.poll():
        for name, (method, path) in requests.items():
            at, began = time.time(), time.perf_counter()
            status = probe(host, port, method, path, token if name == "abort" else None)
            found.append(ProbeResult(name, at, time.perf_counter() - began, status))
            time.sleep(PAUSE_SECONDS)
    results.send(found)
