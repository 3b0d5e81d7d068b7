"""The text of an event stream."""

from __future__ import annotations

import asyncio

from service.api.server_sent_events import server_sent_events
from service.rollout.notifications.event_feed import EventFeed


async def test_a_silent_stream_gets_comments():
    feed = EventFeed()
    stream = server_sent_events(feed.subscribe(lambda: {"event": "status", "data": {}}), 0.01)
    assert (await anext(stream)).split(b"\n")[::2] == [b"event: status", b"data: {}", b""]
    assert await anext(stream) == b": no event\n\n"
    assert await anext(stream) == b": no event\n\n"
    feed.send("change", {"weight": 1})
    event, identity, data, *_ = (await anext(stream)).split(b"\n")
    assert (event, data) == (b"event: change", b'data: {"weight":1}')
    assert identity.startswith(b"id: ")
    feed.close()
    assert [text async for text in stream] == []


async def test_a_stream_that_is_dropped_ends_its_subscription():
    feed = EventFeed()
    stream = server_sent_events(feed.subscribe(lambda: {"event": "status", "data": {}}))
    await anext(stream)
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await stream.aclose()
    assert not feed._queues
