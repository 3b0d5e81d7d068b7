"""Server-sent events: the text of a stream that proxies do not cut while nothing happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import orjson

COMMENT_SECONDS = 15.0
"""Seconds of silence after which a comment is sent. Proxies end idle responses after 60 s."""


async def server_sent_events(
    events: AsyncIterator[Mapping[str, object]], silence: float = COMMENT_SECONDS
) -> AsyncIterator[bytes]:
    """Yield each event (`event`, `data`, `id`) as text, and a comment after `silence` seconds."""
    following = asyncio.ensure_future(_next(events))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=silence)
            if not done:
                yield b": no event\n\n"
                continue
            event = following.result()
            if event is None:
                return
            yield b"event: %b\nid: %b\ndata: %b\n\n" % (
                str(event["event"]).encode(),
                str(event["id"]).encode(),
                orjson.dumps(event["data"]),
            )
            following = asyncio.ensure_future(_next(events))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _next(events: AsyncIterator[Mapping[str, object]]) -> Mapping[str, object] | None:
    """Return the next event, or None at the end."""
    return await anext(events, None)
