"""Subscriptions to the rollout's events."""

from __future__ import annotations

import pytest

from service.rollout.notifications.event_feed import BACKLOG, EventFeed


async def read(feed, last_id=None):
    """All events of a subscription that begins now and is closed at once."""
    stream = feed.subscribe(lambda: {"event": "status", "data": {}}, last_id)
    first = await anext(stream)
    feed.close()
    return [first, *[event async for event in stream]]


@pytest.mark.parametrize("seen", [0, 1, 2, 3])
async def test_a_subscriber_that_comes_back_gets_what_it_missed(seen):
    """The missed events, then the status."""
    feed = EventFeed()
    stream = feed.subscribe(lambda: {"event": "status", "data": {}})
    await anext(stream)
    for number in range(3):
        feed.send("change", {"number": number})
    last = [await anext(stream) for _ in range(seen)]
    # The first id is that of no event: a subscriber that saw none has nothing to miss.
    events = await read(feed, last[-1]["id"] if last else "unknown")
    missed = [event["data"]["number"] for event in events[:-1]]
    assert missed == (list(range(seen, 3)) if seen else [])
    assert events[-1]["event"] == "status"


@pytest.mark.parametrize("last_id", [None, "", "other-3", "x" * 100_000])
async def test_an_unknown_id_gets_the_status_only(last_id):
    feed = EventFeed()
    feed.send("change", {})
    assert [event["event"] for event in await read(feed, last_id)] == ["status"]


async def test_ids_name_the_last_event():
    """The status carries the id of the event before it, so that it is a place to continue."""
    feed = EventFeed()
    for number in range(2 * BACKLOG):
        feed.send("change", {"number": number})
    status = (await read(feed))[0]
    feed = EventFeed()
    assert status["id"].rpartition("-")[2] == str(2 * BACKLOG)
