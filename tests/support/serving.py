"""`nextvec serve` as a process on exported ONNX files, called over HTTP."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from tests.support.ports import free_port

NEXTVEC = Path(sys.executable).parent / "nextvec"
WINDOWS = {"phase-2": 20, "phase-3": 40}
TOKEN = "approver-of-the-tests"
START_SECONDS = 180
"""A start takes a second of CPU time; the machine may be busy with other tests."""


def tokens() -> dict[str, str]:
    return {"NEXTVEC_ADMIN__APPROVER_TOKEN": TOKEN, "NEXTVEC_TOKEN": TOKEN}


@dataclass
class NextvecProcess:
    """A running `nextvec serve` and a client of it."""

    process: subprocess.Popen[str]
    client: httpx.Client
    log: Path

    def admin(self, method, path="", **options):
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        return self.client.request(method, f"/admin/v1/rollout{path}", headers=headers, **options)

    def status(self):
        return self.admin("GET").json()

    def wait_for(self, *phases, seconds=START_SECONDS):
        """Wait until the phase is one of `phases`; return the status."""
        deadline = time.monotonic() + seconds
        while (status := self.status())["phase"] not in phases:
            assert time.monotonic() < deadline, status
            time.sleep(0.05)
        return status

    def append(self, session, vectors, **query):
        answer = self.client.post(
            f"/v1/sessions/{session}/vectors",
            params=query,
            content=vectors.astype("<f4").tobytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 200, answer.text
        return np.array(answer.json()["next_vector"], np.float32)

    def predict(self, vectors, **headers):
        answer = self.client.post(
            "/v1/predict",
            content=vectors.astype("<f4").tobytes(),
            headers={"Content-Type": "application/octet-stream", **headers},
        )
        assert answer.status_code == 200, answer.text
        return np.array(answer.json()["next_vector"], np.float32)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(
    models, folder, *arguments, launcher=(NEXTVEC, "serve"), ca=None, port=None, **environment
):
    """Run `nextvec serve` until the block ends, with its state and log in `folder`."""
    port = port or free_port()
    log = folder / "server.log"
    settings = {
        "NEXTVEC_ROLLOUT__DATABASE": str(folder / "state.db"),
        "NEXTVEC_ROLLOUT__INTERVAL_SECONDS": "0.2",
        # Sessions past their window then equal a recomputation exactly.
        "NEXTVEC_SESSIONS__COMPACT_HISTORY": "false",
        "NEXTVEC_HTTP__DRAIN_SECONDS": "0",
        **tokens(),
        **environment,
    }
    with log.open("a") as output:
        process = subprocess.Popen(
            [*launcher, "--models", models, "--port", str(port), *arguments],
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
            text=True,
        )
    # A path of a certificate to trust: the server then speaks HTTPS.
    verify = True if ca is None else ssl.create_default_context(cafile=ca)
    address = f"{'http' if ca is None else 'https'}://127.0.0.1:{port}"
    with httpx.Client(base_url=address, timeout=30, verify=verify) as client:
        server = NextvecProcess(process, client, log)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(server):
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.process.poll() is None, server.log.read_text()
        assert time.monotonic() < deadline, server.log.read_text()
        try:
            if server.client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
