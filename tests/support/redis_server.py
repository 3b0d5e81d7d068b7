"""A real Redis server for tests, that can be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import hiredis

from tests.support.ports import free_port

START_SECONDS = 20
PROGRAM = os.environ.get("REDIS_SERVER", "redis-server")
"""Set it to the path of a `valkey-server` to run the tests on Valkey."""


class RedisServer:
    """A `redis-server` process with its data in `folder`; `options` are its configuration."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.options = {"save": "", "appendonly": "no", "appendfsync": "always", **options}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = []
        for name, value in self.options.items():
            arguments += [f"--{name.replace('_', '-')}", value]
        with (self.folder / "redis.log").open("a") as log:
            self.process = subprocess.Popen(
                [
                    PROGRAM,
                    "--port",
                    str(self.port),
                    "--bind",
                    "127.0.0.1",
                    "--dir",
                    str(self.folder),
                    *arguments,
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            log_text = (self.folder / "redis.log").read_text()
            assert self.process.poll() is None, log_text
            assert time.monotonic() < deadline, log_text
            time.sleep(0.01)

    def add_tls_port(self) -> int:
        """Listen with TLS too, with the certificate of the options."""
        port = free_port()
        assert self.command("CONFIG", "SET", "tls-port", str(port)) == b"OK"
        return port

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop the process, so that its connections stay open and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def command(self, *words: str | bytes):
        """The answer to a command; an error is returned, not raised."""
        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as caller:
            caller.sendall(hiredis.pack_command(words))
            while (answer := reader.gets()) is False:
                received = caller.recv(1 << 20)
                if not received:
                    raise ConnectionResetError("the server closed the connection")
                reader.feed(received)
        return answer

    def _answers(self) -> bool:
        try:
            return "LOADING" not in str(self.command("PING"))
        except OSError:
            return False


@contextlib.contextmanager
def redis_server(folder: Path, **options: str):
    """Run a server until the block ends. `_` in the name of an option stands for `-`."""
    server = RedisServer(folder, **options)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.resume()
            server.process.kill()
            server.process.wait()
