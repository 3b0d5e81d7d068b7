"""A real PostgreSQL server for tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.ports import free_port
from tests.support.tools import tool_path

PASSWORD = "pass/word of tests@1"
QUOTED = "pass%2Fword%20of%20tests%401"
ACCOUNT = "postgres" if os.geteuid() == 0 else None
"""The server does not run as root."""


class PostgresServer:
    """A server with the user `nextvec`, who owns the database `nextvec`. It can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = Path(str(tool_path("postgres"))).parent

    @property
    def url(self) -> str:
        return f"postgresql://nextvec:{QUOTED}@127.0.0.1:{self.port}/nextvec"

    def create(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if ACCOUNT is not None:
            owner = pwd.getpwnam(ACCOUNT)
            for path in (self.folder, secret):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._run(
            "initdb", "-D", self.folder / "data", "-U", "nextvec", f"--pwfile={secret}",
            "--auth=scram-sha-256", "--no-sync", "--no-locale", "-E", "UTF8",
        )  # fmt: skip
        self.start()
        self.sql("CREATE DATABASE nextvec", database="postgres")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binaries / "postgres", "-D", self.folder / "data", "-p", str(self.port),
                    "-k", self.folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                ],
                stdout=log, stderr=log, user=ACCOUNT, cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), check=False):
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """`kill -9` of the server and all its processes."""
        assert self._process is not None
        # The children see that the postmaster is gone and end by themselves.
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Freeze the server: connections stay open, and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=30)
            self._process = None

    def sql(self, text: str, database: str = "nextvec", password: str = PASSWORD) -> str:
        """The result of one statement, as `psql -At` prints it."""
        done = subprocess.run(
            [self._binaries / "psql", "-X", "-At", "-h", "127.0.0.1", "-p", str(self.port),
             "-U", "nextvec", "-d", database, "-v", "ON_ERROR_STOP=1", "-c", text],
            env={**os.environ, "PGPASSWORD": password}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def dump(self, file: Path) -> None:
        """Back the database up, as docs/how-to/fleet.md says."""
        self._tool("pg_dump", "--format=custom", f"--file={file}", "-d", "nextvec")

    def restore(self, file: Path) -> None:
        """Put a backup in the place of what is there."""
        self._tool("pg_restore", "--clean", "--if-exists", "-d", "nextvec", file)

    def _tool(self, name: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._binaries / name, "-h", "127.0.0.1", "-p", str(self.port), "-U", "nextvec",
             *arguments],
            env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in [self._process.pid, *map(int, children.read_text().split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _run(self, name: str, *arguments: str | Path, check: bool = True) -> int:
        return subprocess.run(
            [self._binaries / name, *arguments],
            stdout=subprocess.DEVNULL, user=ACCOUNT, cwd=self.folder, check=check,
        ).returncode  # fmt: skip


@contextlib.contextmanager
def running():
    """A new server, until the block ends."""
    # Not in pytest's folder, which only its own user can enter.
    folder = Path(tempfile.mkdtemp(prefix="nextvec-postgres-"))
    server = PostgresServer(folder)
    try:
        server.create()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
