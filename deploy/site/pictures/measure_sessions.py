"""Measures what a session costs: memory, and the time of one more vector.

    python -m deploy.site.pictures.measure_sessions                   # of a running service
    python -m deploy.site.pictures.measure_sessions --models models   # starts one on phase-3

Times are those of the engine, from `Server-Timing`, so that the network does not count. Each is the
smallest of several: other work on the machine can only add. Measure on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
import orjson

LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 980)
"""The last one leaves room for the steps within the window of 1000."""

STEPS, CONTEXTS = 15, 4
BINARY = {"Content-Type": "application/octet-stream"}
INFERENCE = re.compile(r"inference;dur=([\d.]+)")


@dataclass(frozen=True, slots=True)
class SessionCost:
    """One length of a context: bytes of its session, and milliseconds in the engine.

    `step_ms`: one more vector for the session. `context_ms`: the whole context, computed again.
    """

    vectors: int
    session_bytes: int
    step_ms: float
    context_ms: float


def measure(client: httpx.Client, lengths: Sequence[int], dim: int) -> list[SessionCost]:
    """One cost for each length. Raises `httpx.HTTPError`."""
    rng = np.random.default_rng(0)
    _context_ms(client, _vectors(rng, 20, dim))  # the first request warms the path
    return [_measure_one(client, rng, length, dim) for length in lengths]


def _measure_one(
    client: httpx.Client, rng: np.random.Generator, length: int, dim: int
) -> SessionCost:
    path = f"/v1/sessions/cost-of-{length}"
    _post(client, f"{path}/vectors", _vectors(rng, length, dim))
    held = client.get(path).raise_for_status().json()["bytes"]
    steps = [_post(client, f"{path}/vectors", _vectors(rng, 1, dim)) for _ in range(STEPS)]
    client.delete(path).raise_for_status()
    # New vectors each time, so that the prefix cache knows none of them.
    contexts = [_context_ms(client, _vectors(rng, length, dim)) for _ in range(CONTEXTS)]
    return SessionCost(length, held, min(steps), min(contexts))


def _context_ms(client: httpx.Client, vectors: bytes) -> float:
    return _post(client, "/v1/predict", vectors)


def _post(client: httpx.Client, path: str, vectors: bytes) -> float:
    answer = client.post(path, content=vectors, headers=BINARY).raise_for_status()
    found = INFERENCE.search(answer.headers["server-timing"])
    assert found is not None
    return float(found[1])


def _vectors(rng: np.random.Generator, count: int, dim: int) -> bytes:
    """`count` unit vectors as little-endian float32 rows."""
    drawn = rng.standard_normal((count, dim))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return bytes(unit.astype("<f4"))


@contextmanager
def serving(models: Path) -> Iterator[str]:
    """The address of a service on the version phase-3 of `models`, which ends with the block.

    Raises RuntimeError if it does not start within a minute.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("nextvec")), "serve", "--models", str(models)]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(  # noqa: S603
            [*command, "--stable", "phase-3", "--port", str(port)],
            env={**os.environ, "NEXTVEC_ROLLOUT__DATABASE": f"{folder}/state.db"},
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/v2/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError("the service does not start; try nextvec serve --models … --stable phase-3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--out", type=Path, default=Path("out/pictures/sessions.json"))
    given = parser.parse_args()
    if given.models is None:
        _report(given.url, given.dim, given.out)
        return
    with serving(given.models) as url:
        _report(url, given.dim, given.out)


def _report(url: str, dim: int, out: Path) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        models = client.get("/v2").raise_for_status().json()["models"]
        costs = measure(client, LENGTHS, dim)
    out.parent.mkdir(parents=True, exist_ok=True)
    found = {"model": models[0], "costs": [asdict(cost) for cost in costs]}
    out.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    for cost in costs:
        print(
            f"{cost.vectors:5} vectors: {cost.session_bytes / 1024:7.1f} KiB, one more vector "
            f"{cost.step_ms:6.2f} ms, computed again {cost.context_ms:7.2f} ms"
        )


if __name__ == "__main__":
    main()
