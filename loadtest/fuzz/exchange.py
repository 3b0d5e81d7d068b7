"""Sends the bytes of one input over a connection of its own, and reads what comes back."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")
FIRST_SECONDS = 1.0
"""An input is done if no byte has come back for this long: the server may wait for more."""
MORE_SECONDS = 0.03
"""An input is done if this long has passed since the last byte: the connection stays open."""

_MOST_BYTES = 4 * 2**20


async def exchange(url: str, data: bytes, source: random.Random) -> list[int]:
    """Send `data`, whole or in pieces; return the statuses of the responses, in order.

    Empty if the server waits for more or closes without a word. Raises `OSError` if it does not
    accept the connection.
    """
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    received = b""
    try:
        # The server may answer and close before it has read everything. uvloop then raises
        # `RuntimeError` from `write`.
        with suppress(OSError, RuntimeError):
            for piece in pieces(data, source):
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), 1.0)
            if source.random() < 0.3 and writer.can_write_eof():
                writer.write_eof()
        with suppress(OSError, TimeoutError):
            while len(received) < _MOST_BYTES:
                quiet = MORE_SECONDS if received else FIRST_SECONDS
                more = await asyncio.wait_for(reader.read(2**18), quiet)
                if not more:
                    break
                received += more
    finally:
        if source.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()
    return [int(status) for status in STATUS_LINE.findall(received)]


def pieces(data: bytes, source: random.Random) -> Iterator[bytes]:
    """`data`, mostly whole, sometimes cut at random places."""
    if source.random() < 0.7 or len(data) < 2:
        yield data
        return
    cuts = sorted(source.randrange(1, len(data)) for _ in range(source.randint(1, 4)))
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[begin:end]
