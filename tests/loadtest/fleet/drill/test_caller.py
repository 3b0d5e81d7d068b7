"""The drill's callers and its oracle against a store that is right, and against broken ones."""

from __future__ import annotations

import asyncio

import pytest

from loadtest.fleet.drill.oracle import Oracle
from loadtest.fleet.drill.report import Promises, make_report
from loadtest.fleet.drill.run import DrillOptions, drive_only
from loadtest.streams import Streams
from service.clock import SystemClock
from tests.support.fakes import FakeEngine, unit_vectors
from tests.support.session_server import session_server

STREAMS = Streams(unit_vectors(5000))
OPTIONS = DrillOptions(seconds=0.5, sessions=4, rate=2000.0, length=20, versions=None)
SYNC = Promises("sync", "refuse")


async def drilled(promises=SYNC, **server):
    """The report of half a second against such a server."""
    oracle = Oracle({"v": FakeEngine()}, STREAMS)
    async with asyncio.timeout(30), session_server(**server) as (_, url):
        record, checked = await drive_only(url, STREAMS, oracle, OPTIONS, SystemClock())
    return make_report(record, checked, promises)


async def test_a_right_store_passes():
    report = await drilled()
    assert () == report.problems
    assert report.appends > 50
    assert report.distance < 1e-6
    assert 0 == report.lost == report.doubled == report.wrong == report.failed


def drop(kept, vector):
    """Acknowledged and not stored."""


def double(kept, vector):
    kept += [vector, vector]


def double_quietly(kept, vector):
    """The length is right, the contents are not."""
    kept[:] = [*kept[1:], vector, vector] if kept else [vector]


def swap(kept, vector):
    """Another session's vector."""
    kept.append(-vector)


def forget(kept, vector):
    kept.clear()
    return 410, {}


def forget_half(kept, vector):
    del kept[len(kept) // 2 :]
    return 409, {"position": len(kept)}


def store_and_refuse(kept, vector):
    """Stored, and its repeat is a conflict."""
    kept.append(vector)
    return 503, {"error": "gone"}


def refuse(kept, vector):
    return 503, {"error": "the store is down"}


@pytest.mark.parametrize(
    ("broken", "figure", "said"),
    [
        (drop, "lost", "vectors lost"),
        (double, "doubled", "stored twice"),
        (double_quietly, "wrong", "wrong answers"),
        (swap, "wrong", "wrong answers"),
        (forget, "lost", "vectors lost"),
        (forget_half, "lost", "vectors lost"),
        (store_and_refuse, "not_repeated", "refused when sent again"),
        (refuse, "failed", "requests failed"),
    ],
)
async def test_a_broken_store_is_caught(broken, figure, said):
    """Whatever it does wrong: the figure counts it, and a problem names it."""
    report = await drilled(broken=broken)
    assert getattr(report, figure) > 0
    assert any(said in problem for problem in report.problems), report.problems


async def test_an_append_at_the_end_of_a_session_is_missed_too():
    """No further append would find it: the length is compared."""

    def drop_the_last(kept, vector):
        if len(kept) < OPTIONS.length - 1:
            kept.append(vector)

    report = await drilled(broken=drop_the_last, every=1)
    assert report.lost_silently > 0
    assert any("without a word" in problem for problem in report.problems)


async def test_async_may_lose_at_a_kill_alone():
    """Here nothing was killed."""
    report = await drilled(Promises("async", "serve"), broken=forget)
    assert any("lost without a kill" in problem for problem in report.problems)
