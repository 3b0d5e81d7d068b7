"""HTTP requests that a worker hands to the engine process whole."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from service.workers.passthrough import Passthrough

ANSWER = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\n\r\nno key"
PIECES, PIECE = 64, bytes(64 * 1024)


def scope():
    return {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "raw_path": b"/admin/v1/rollout",
        "query_string": b"",
        "headers": [(b"content-length", str(PIECES * len(PIECE)).encode())],
        "client": ("127.0.0.1", 5000),
    }


async def relay(server):
    """Send a large request through a `Passthrough` to `server`; return the ASGI messages."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)  # noqa: FBT003  the only parameter
    sent = []
    bodies = iter(range(PIECES))

    async def receive():
        number = next(bodies, None)
        if number is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": PIECE, "more_body": number + 1 < PIECES}

    async def send(message):
        sent.append(message)

    serving = asyncio.create_task(server(theirs))
    await Passthrough(lambda: ours)(scope(), receive, send)
    await serving
    return sent


async def refuse(end):
    """Answer after the head, and read what comes after it, as HTTP/1.1 asks for."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    assert b"connection: close" not in await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    with suppress(ConnectionError):
        while await reader.read(65536):
            pass
    writer.close()


async def end_unread(end):
    """End after the head, without an answer."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def test_an_answer_before_the_end_of_the_body_reaches_the_caller():
    sent = await relay(refuse)
    assert [401, b"no key"] == [sent[0]["status"], sent[1]["body"]]


async def test_an_engine_process_that_ends_within_the_request_is_unavailable():
    sent = await relay(end_unread)
    assert 503 == sent[0]["status"]
