"""Calls over a link give what the dispatch gives, and end whatever happens to either side."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest

from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import SessionStart
from service.errors import (
    CallerLimited,
    Conflict,
    DeadlineExceeded,
    EngineFault,
    Invalid,
    NotFound,
    NotReady,
    QueueFull,
)
from service.observability import request_scope
from service.prediction.request import RequestOptions
from service.types import Variant
from service.workers import link as link_module
from service.workers.failures import EngineBugError
from service.workers.remote_predictor import RemoteKeyHolder
from tests.support.fakes import fault, unit_vectors
from tests.workers.support import wait_until

PLAIN = RequestOptions()
LIMITED = {"callers": {"keys": [{"name": "a", "key": "k" * 20, "requests_per_second": 1}]}}


async def test_an_append_and_its_repeat(linked):
    async with linked() as under_test:
        vectors = unit_vectors(3)
        first = await under_test.predictor.append("s", vectors, PLAIN, position=0)
        again = await under_test.predictor.append("s", vectors, PLAIN, position=0)
        engine = under_test.engines[first.route.version]
        np.testing.assert_allclose(engine.expected(vectors), first.vector, rtol=1e-6)
        np.testing.assert_array_equal(first.vector, again.vector)
        assert (3, Variant.STABLE) == (first.length, first.route.variant)


async def test_contexts_small_and_large_alone_and_together(linked):
    """Large ones travel through shared memory, and their places come back."""
    async with linked() as under_test:
        small, large = unit_vectors(4), np.tile(unit_vectors(1, seed=2), (4096, 1))
        assert large.nbytes >= link_module.IN_ARENA_BYTES
        for context in (small, large):
            found = await under_test.predictor.predict(context, PLAIN)
            expected = under_test.engines["phase-2"].expected(context[-8:])
            np.testing.assert_allclose(expected, found.vector, rtol=1e-5)
        both = await under_test.predictor.predict_batch([small, small[:2]], PLAIN)
        assert len(both) == 2
        np.testing.assert_allclose(
            under_test.engines["phase-2"].expected(small[:2]), both[1].vector, rtol=1e-6
        )
        await wait_until(lambda: under_test.arena.taken == 0)


async def test_many_calls_at_once_are_answered_each_by_itself(linked):
    async with linked() as under_test:
        contexts = [unit_vectors(2, seed=number) for number in range(200)]
        found = await asyncio.gather(
            *(under_test.predictor.append(str(i), each, PLAIN) for i, each in enumerate(contexts))
        )
        for context, prediction in zip(contexts, found, strict=True):
            engine = under_test.engines["phase-2"]
            np.testing.assert_allclose(engine.expected(context), prediction.vector, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (lambda p: p.append("s", unit_vectors(1), PLAIN, position=3), NotFound, None),
        (lambda p: p.predict(np.full((1, 4), np.nan, np.float32), PLAIN), Invalid, "invalid"),
        (lambda p: p.predict(unit_vectors(1), RequestOptions(version="x")), NotFound, None),
        (lambda p: p.predict(unit_vectors(1), RequestOptions(version="x" * 9999)), NotFound, None),
        (
            lambda p: p.append("s", unit_vectors(1), PLAIN, begin=SessionStart.NEVER),
            NotFound,
            "session_not_found",
        ),
    ],
)
async def test_an_error_is_raised_here_as_it_is_there(linked, call, kind, code):
    async with linked() as under_test:
        with pytest.raises(kind) as caught:
            await call(under_test.predictor)
        assert code in {None, caught.value.code}


async def test_a_conflict_tells_the_true_position(linked):
    async with linked() as under_test:
        await under_test.predictor.append("s", unit_vectors(2), PLAIN)
        with pytest.raises(Conflict) as caught:
            await under_test.predictor.append("s", unit_vectors(1), PLAIN, position=7)
        assert caught.value.details == {"position": 2}


@pytest.mark.parametrize("problem", [fault(), RuntimeError("a bug")])
async def test_a_fault_of_the_engine_names_its_version(linked, problem):
    async with linked() as under_test:
        under_test.engines["phase-2"].faults.append(problem)
        with pytest.raises(EngineFault) as caught:
            await under_test.predictor.predict(unit_vectors(2), PLAIN)
        assert caught.value.version == "phase-2"


async def test_a_bug_of_the_engine_process_is_not_the_caller_s(linked, monkeypatch, caplog):
    async with linked() as under_test:
        monkeypatch.setattr(under_test.services.dispatch, "predict", None)
        with pytest.raises(EngineBugError):
            await under_test.predictor.predict(unit_vectors(2), RequestOptions(request_id="r-1"))
        assert "request r-1 failed" in caplog.text


async def test_a_caller_that_leaves_frees_its_place(linked):
    """The call is cancelled on the other side as well."""
    async with linked() as under_test:
        engine = under_test.engines["phase-2"]
        engine.gate.clear()
        running = asyncio.create_task(under_test.predictor.append("s", unit_vectors(1), PLAIN))
        await wait_until(lambda: under_test.calls.running == 1)
        running.cancel()
        await wait_until(lambda: under_test.calls.running == 0)
        engine.gate.set()
        assert under_test.link.pending == 0


async def test_calls_end_when_the_engine_process_does(linked):
    async with linked() as under_test:
        engine = under_test.engines["phase-2"]
        engine.gate.clear()
        running = asyncio.create_task(under_test.predictor.append("s", unit_vectors(1), PLAIN))
        await wait_until(lambda: under_test.calls.running == 1)
        under_test.calls.close()
        with pytest.raises(NotReady):
            await running
        with pytest.raises(NotReady):
            await under_test.predictor.append("s", unit_vectors(1), PLAIN)
        engine.gate.set()


async def test_a_worker_that_dies_leaves_nothing_running(linked):
    async with linked() as under_test:
        engine = under_test.engines["phase-2"]
        engine.gate.clear()
        large = np.tile(unit_vectors(1), (4096, 1))
        running = asyncio.create_task(under_test.predictor.predict(large, PLAIN))
        await wait_until(lambda: under_test.calls.running == 1)
        under_test.link.close()
        await wait_until(lambda: under_test.calls.running == 0)
        engine.gate.set()
        with pytest.raises(NotReady):
            await running


async def test_an_engine_process_that_hangs_costs_the_deadline_and_not_more(linked, monkeypatch):
    monkeypatch.setattr(link_module, "_SWEEP_SECONDS", 0.01)
    async with linked(patience=0.05) as under_test:
        engine = under_test.engines["phase-2"]
        engine.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await under_test.predictor.append("s", unit_vectors(1), PLAIN)
        engine.gate.set()


async def test_a_full_stream_refuses_and_does_not_wait(linked):
    async with linked() as under_test:
        under_test.link.pause_writing()
        with pytest.raises(QueueFull):
            await under_test.predictor.append("s", unit_vectors(1), PLAIN)
        under_test.link.resume_writing()
        await under_test.predictor.append("s", unit_vectors(1), PLAIN)


async def test_full_shared_memory_refuses_and_does_not_wait(linked):
    async with linked() as under_test:
        engine = under_test.engines["phase-2"]
        engine.gate.clear()
        large = np.tile(unit_vectors(1), (4096, 1))
        running = [
            asyncio.create_task(under_test.predictor.append(f"s-{number}", large, PLAIN))
            for number in range(4)
        ]
        await wait_until(lambda: under_test.arena.taken == 4)
        try:
            with pytest.raises(QueueFull):
                await under_test.predictor.append("t", large, PLAIN)
        finally:
            engine.gate.set()
        await asyncio.gather(*running)
        await wait_until(lambda: under_test.arena.taken == 0)


async def test_a_stream_that_is_cut_within_a_frame_is_reported(linked, caplog):
    async with linked() as under_test:
        under_test.link._transport.write(b"\x20\0\0\0")
        under_test.link.close()
        await wait_until(lambda: len(under_test.lost) == 2)
        assert "ended within a frame" in caplog.text


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\x0c\0\0\0\x10\0\0\0" + bytes(8)])
async def test_garbage_ends_the_stream(linked, caplog, garbage):
    """Bytes that are no frame, or a frame that only the other side sends."""
    async with linked() as under_test:
        under_test.link._transport.write(garbage)
        await wait_until(lambda: len(under_test.lost) == 2)
        assert "what is no frame" in caplog.text


async def test_the_limits_of_a_key_are_counted_on_the_other_side(linked):
    async with linked(**LIMITED) as under_test:
        settings = under_test.services.settings.callers.keys[0]
        holders = [RemoteKeyHolder(settings, under_test.link) for _ in range(2)]
        await holders[0].take_request()
        with pytest.raises(CallerLimited):
            await holders[1].take_request()
        await holders[0].take_vectors(1000)


async def test_a_session_belongs_to_the_holder_of_its_key(linked):
    async with linked(**LIMITED) as under_test:
        mine = RequestOptions(owner=SessionQuota("a"))
        await under_test.predictor.append("s", unit_vectors(1), mine)
        await under_test.predictor.append("s", unit_vectors(1), mine)
        with pytest.raises(NotFound):
            await under_test.predictor.append("s", unit_vectors(1), PLAIN, position=2)


async def test_a_refusal_is_counted(linked):
    async with linked() as under_test:
        under_test.link.count_refusal()
        counter = under_test.services.metrics.refused
        await wait_until(lambda: counter._value.get() == 1)


async def test_log_lines_of_the_engine_process_name_the_request(linked, caplog):
    async with linked() as under_test:
        seen = {}

        async def note(*_args, **_options):
            seen.update(request_scope.current())
            raise Invalid("no")

        under_test.services.dispatch.predict = note
        caplog.set_level(logging.INFO)
        request_scope.enter({"request_id": "r", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
        with pytest.raises(Invalid):
            await under_test.predictor.predict(unit_vectors(1), RequestOptions(request_id="r"))
        assert (seen["request_id"], seen["trace_id"]) == ("r", "a" * 32)
