"""A small server of `/v1/sessions` whose store can be broken in one way."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager

import numpy as np

from tests.support.fakes import DIM, FakeEngine

_HEAD = re.compile(rb"(\w+) /v1/sessions/([^/ ?]+)(?:/vectors\?position=(\d+))? ")


class SessionServer:
    """Keeps the vectors of each session and predicts from all of them.

    `broken` is applied to every `every`-th append: a function of the session's list of vectors
    and of the new one, instead of `list.append`. It may return a response to send instead.
    """

    def __init__(self, broken=None, every=7) -> None:
        self.sessions: dict[str, list[np.ndarray]] = {}
        self.broken = broken
        self.every = every
        self.appends = 0
        self.engine = FakeEngine()

    async def handle(self, reader, writer) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                method, name, position = _HEAD.match(head).groups()
                status, document = self.answer(method, name.decode(), position, body)
                content = json.dumps(document).encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\nServer-Timing: total;dur=1.5\r\nContent-Length: %d\r\n\r\n%s"
                    % (status, len(content), content)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, method, name, position, body):
        kept = self.sessions.setdefault(name, [])
        if method == b"GET":
            return 200, {"length": len(kept)}
        if int(position) != len(kept):
            return 409, {"position": len(kept)}
        vector = np.frombuffer(body, "<f4").reshape(1, DIM)[0]
        self.appends += 1
        before = len(kept)
        if self.broken is not None and self.appends % self.every == 0:
            instead = self.broken(kept, vector)
            if instead is not None:
                return instead
        else:
            kept.append(vector)
        seen = np.array(kept or [vector], np.float32)
        predicted = self.engine.expected(seen)
        length = max(before + 1, len(kept))
        return 200, {"length": length, "version": "v", "next_vector": predicted.tolist()}


@asynccontextmanager
async def session_server(**options):
    """A running server and its address."""
    server = SessionServer(**options)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    try:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await asyncio.sleep(0)
