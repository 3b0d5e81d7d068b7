"""Exported versions and a server process, for the demo, the benchmark and the trial."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from types import FrameType
from typing import NoReturn

import httpx

from loadtest.demo.scenario import CANARY, INTERVAL_SECONDS, STABLE
from service.clock import Clock
from service.manifest import NAME, sha256

_MODEL = "next-vector"
_STOP_SECONDS = 15.0

# The same interpreter, whatever is on PATH.
_NEXTVEC = [sys.executable, "-c", "from service.cli import main; raise SystemExit(main())"]
SERVE = (*_NEXTVEC, "serve")


class EnvironmentSetupError(Exception):
    """An export or the server failed. The message says what to do or ends with the log."""


def is_export_current(models: Path, version: str, checkpoint: Path, window: int) -> bool:
    """Whether `version` was exported from this checkpoint for `window` vectors.

    An export without precisions in its manifest has an old format and is not current.
    """
    try:
        manifest = json.loads((models / _MODEL / version / NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return (
        isinstance(manifest, dict)
        and "precisions" in manifest
        and manifest.get("source_sha256") == sha256(checkpoint)
        and manifest.get("context_window") == window
    )


def export_version(
    models: Path, version: str, checkpoint: Path, log: Path, window: int, *more: str
) -> None:
    """Run `nextvec export` with the options `more`, replacing an existing export.

    It runs in a separate process, so that its memory is free before anything is measured, and in
    a folder of its own, so that exports of two versions can run at once. Raises
    `EnvironmentSetupError`.
    """
    staging, final = models.with_name(f"{models.name}-{version}"), models / _MODEL / version
    for old in (staging, final):
        rmtree(old, ignore_errors=True)
    command = [*_NEXTVEC, "export", str(checkpoint), "--version", version]
    command += ["--context-window", str(window), "--models", str(staging), *more]
    try:
        _run(command, log, f"the export of {checkpoint} failed")
        final.parent.mkdir(parents=True, exist_ok=True)
        (staging / _MODEL / version).rename(final)
    finally:
        rmtree(staging, ignore_errors=True)


@dataclass
class ServerProcess:
    """A running `nextvec serve`: its address, an approver token, and a code for the console."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    log: Path
    login_code: str = ""

    @property
    def console_link(self) -> str:
        """An address that opens the console once, with the role approver."""
        return f"{self.url}/console#login={self.login_code}"

    def check(self) -> None:
        """Raise `EnvironmentSetupError` if the process has ended."""
        if self.process.poll() is not None:
            raise EnvironmentSetupError(
                f"the server ended with status {self.process.returncode}:\n{_read_tail(self.log)}"
            )

    async def ready(self, clock: Clock, seconds: float) -> None:
        """Wait until the server is ready. Raises `EnvironmentSetupError` after `seconds`."""
        until = clock.monotonic() + seconds
        async with httpx.AsyncClient(base_url=self.url, timeout=5.0, trust_env=False) as client:
            while clock.monotonic() < until:
                self.check()
                with suppress(httpx.HTTPError):
                    if (await client.get("/v2/health/ready")).is_success:
                        return
                await asyncio.sleep(0.1)
        raise EnvironmentSetupError(
            f"the server was not ready within {seconds:.0f} s:\n{_read_tail(self.log)}"
        )


def export_direct(checkpoint: Path, graph: Path, log: Path) -> None:
    """Write the graph as a tracing exporter would, for a benchmark.

    Raises `EnvironmentSetupError`.
    """
    command = [sys.executable, "-m", "model_export.unfolded_graph", str(checkpoint), str(graph)]
    _run(command, log, f"the direct export of {checkpoint} failed")


def slow_version_command(version: str, factor: float) -> list[str]:
    """The command of a server on which each run of `version` takes `factor` times as long."""
    command = [sys.executable, "-m", "loadtest.trial.degraded_server"]
    return [*command, "--slow", version, "--factor", str(factor)]


def noisy_version_command(version: str, noise: float) -> list[str]:
    """The command of a server that adds `noise` to the predictions of `version`."""
    command = [sys.executable, "-m", "loadtest.trial.degraded_server"]
    return [*command, "--noisy", version, "--noise", str(noise)]


@contextmanager
def run_server(
    models: Path,
    out: Path,
    stable: str = STABLE,
    canary: str | None = CANARY,
    settings: Mapping[str, str] | None = None,
    launcher: Sequence[str] = SERVE,
) -> Iterator[ServerProcess]:
    """Run a server on a free port with a new rollout database, and stop it at the end.

    `settings` are additional `NEXTVEC_` variables. `launcher` is a command that takes the
    options of `nextvec serve`.
    """
    for old in out.glob("rollout.db*"):
        old.unlink()
    token, login_code = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    port = free_port()
    environment = _environment(
        {
            "NEXTVEC_ADMIN__APPROVER_TOKEN": token,
            "NEXTVEC_ADMIN__LOGIN_CODE": login_code,
            "NEXTVEC_ROLLOUT__DATABASE": str(out / "rollout.db"),
            "NEXTVEC_ROLLOUT__INTERVAL_SECONDS": str(INTERVAL_SECONDS),
            "NEXTVEC_HTTP__DRAIN_SECONDS": "0",
            **(settings or {}),
        }
    )
    command = [*launcher, "--models", str(models), "--stable", stable]
    command += [] if canary is None else ["--canary", canary]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    log = out / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  our own command, no shell
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # Ctrl-C reaches only the demo, which then stops the server.
            start_new_session=True,
        )
        try:
            yield ServerProcess(f"http://127.0.0.1:{port}", token, process, log, login_code)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def exit_on_sigterm() -> None:
    """Exit on SIGTERM through `SystemExit`, so that `run_server` stops its server."""
    signal.signal(signal.SIGTERM, _exit_on_sigterm)


def free_port() -> int:
    """A port that no process listens on at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _run(command: list[str], log: Path, failed: str) -> None:
    with log.open("wb") as output:
        done = subprocess.run(  # noqa: S603  our own command, no shell
            command, stdout=output, stderr=subprocess.STDOUT, env=_environment({}), check=False
        )
    if done.returncode:
        raise EnvironmentSetupError(f"{failed}:\n{_read_tail(log)}")


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment without `NEXTVEC_` variables meant for another server, plus `more`."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("NEXTVEC_")}
    # A nextvec.toml of the working directory is meant for another server, too.
    return {**others, "NEXTVEC_CONFIG": os.devnull, **more}


def _read_tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _exit_on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)
