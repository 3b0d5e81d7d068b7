"""Waiting jobs run together, and the failure of one caller does not affect another."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest

from service.errors import EngineFault, NotReady, QueueFull
from service.inference.engines.step_engine import StepEngine
from service.inference.scheduling.scheduler import Scheduler
from tests.support.fakes import FakeClock, FakeEngine, fault, unit_vectors


@asynccontextmanager
async def running(engine, *, max_batch=8, prefill_chunk=4, queue_limit=16, clock=None, **more):
    scheduler = Scheduler(
        engine,
        clock or FakeClock(),
        max_batch=max_batch,
        prefill_chunk=prefill_chunk,
        queue_limit=queue_limit,
        **more,
    )
    scheduler.start("test")
    try:
        yield scheduler
    finally:
        if isinstance(engine, FakeEngine):
            engine.gate.set()
        await scheduler.close()


async def held(engine, scheduler, *jobs):
    """Tasks for `jobs`, queued behind a first job that holds the engine."""
    engine.gate.clear()
    first = asyncio.create_task(scheduler.submit(unit_vectors(1), None))
    await asyncio.to_thread(engine.entered.acquire)
    tasks = [asyncio.create_task(scheduler.submit(vectors, None)) for vectors in jobs]
    await asyncio.sleep(0)
    return first, tasks


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 21])
async def test_a_context_in_chunks_predicts_as_in_one_pass(length):
    """Each chunk continues from the state of the one before."""
    engine = FakeEngine()
    vectors = unit_vectors(length)
    async with running(engine, prefill_chunk=4) as scheduler:
        got = await scheduler.submit(vectors, None)
    np.testing.assert_allclose(engine.expected(vectors), got.vector, atol=1e-6)


async def test_a_kept_state_is_continued():
    """Ten vectors and then one give the result of eleven."""
    engine = FakeEngine()
    vectors = unit_vectors(11)
    async with running(engine) as scheduler:
        before = await scheduler.submit(vectors[:10], None)
        got = await scheduler.submit(vectors[10:], before.state)
    np.testing.assert_allclose(engine.expected(vectors), got.vector, atol=1e-6)


async def test_steps_that_wait_run_together():
    """A free engine takes the waiting steps, up to the largest batch."""
    engine = FakeEngine()
    async with running(engine, max_batch=3) as scheduler:
        first, tasks = await held(engine, scheduler, *(unit_vectors(1, i) for i in range(4)))
        engine.gate.set()
        await asyncio.gather(first, *tasks)
    assert engine.batches == [[1], [1, 1, 1], [1]]


async def test_a_step_does_not_wait_for_a_whole_context():
    """It waits for at most one chunk, and a context for at most one batch of steps."""
    engine = FakeEngine()
    async with running(engine, prefill_chunk=4) as scheduler:
        first, tasks = await held(engine, scheduler, unit_vectors(12), unit_vectors(1))
        engine.gate.set()
        await asyncio.gather(first, *tasks)
    assert engine.batches == [[1], [4], [1], [4], [4]]


async def test_with_two_threads_a_step_waits_for_no_chunk():
    """The step is answered while the context's chunk is still in the engine."""
    engine = FakeEngine(concurrent=True)
    context, step = unit_vectors(9, 1), unit_vectors(1, 2)
    async with running(engine, prefill_chunk=4) as scheduler:
        engine.prefill_gate.clear()
        held_up = asyncio.create_task(scheduler.submit(context, None))
        await asyncio.to_thread(engine.entered.acquire)
        got = await scheduler.submit(step, None)
        assert not held_up.done()
        engine.prefill_gate.set()
        got_context = await held_up
    np.testing.assert_allclose(engine.expected(step), got.vector, atol=1e-6)
    np.testing.assert_allclose(engine.expected(context), got_context.vector, atol=1e-6)


async def test_on_a_cpu_few_contexts_run_side_by_side():
    """More would hold the engine longer, and none would finish sooner."""
    engine = FakeEngine(concurrent=True)
    async with running(engine, max_batch=32) as scheduler:
        engine.prefill_gate.clear()
        first = asyncio.create_task(scheduler.submit(unit_vectors(4), None))
        await asyncio.to_thread(engine.entered.acquire)
        tasks = [asyncio.create_task(scheduler.submit(unit_vectors(4, i), None)) for i in range(6)]
        await asyncio.sleep(0)
        engine.prefill_gate.set()
        await asyncio.gather(first, *tasks)
    assert [1, 4, 2] == [len(batch) for batch in engine.batches]


async def test_a_context_that_could_only_be_late_is_refused():
    """Estimated from recent vectors, those in the engine included; steps are not refused."""
    clock = FakeClock()
    engine = TimedContextEngine(clock, 0.1)
    async with running(engine, clock=clock, patience=10.0) as scheduler:
        for _ in range(60):  # until what it has measured counts
            await scheduler.submit(unit_vectors(4), None)
        engine.prefill_gate.clear()
        while engine.entered.acquire(blocking=False):
            pass
        first = asyncio.create_task(scheduler.submit(unit_vectors(60), None))
        await asyncio.to_thread(engine.entered.acquire)
        second = asyncio.create_task(scheduler.submit(unit_vectors(3), None))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="63 vectors") as raised:
            await scheduler.submit(unit_vectors(10), None)
        with pytest.raises(QueueFull, match="63 vectors"):
            await scheduler.submit(unit_vectors(2), None, patience=5.0)
        await scheduler.submit(unit_vectors(1), None)
        engine.prefill_gate.set()
        await asyncio.gather(first, second)
        await scheduler.submit(unit_vectors(2), None)
    assert 1.0 < raised.value.retry_after < 1.6


class TimedContextEngine(FakeEngine):
    """Each vector of a context takes `seconds` by the clock."""

    def __init__(self, clock, seconds):
        super().__init__(concurrent=True)
        self._clock, self._seconds = clock, seconds

    def run(self, vectors, lengths, state):
        if len(vectors) > 1:
            self._clock.advance(self._seconds * float(lengths.sum()))
        return super().run(vectors, lengths, state)


@pytest.mark.parametrize("concurrent", [False, True])
async def test_the_end_of_a_context_runs_in_the_precision_of_its_beginning(concurrent):
    """Steps have an approximate graph. No vector of a context takes it, neither the last one
    nor a new one after a known prefix."""
    full, step = FakeEngine(concurrent=concurrent), FakeEngine(decay=0.9, concurrent=concurrent)
    step.precision = "int8"
    engine = StepEngine(full, step)
    vectors = unit_vectors(6)
    async with running(engine, prefill_chunk=4) as scheduler:
        before = await scheduler.submit(vectors[:5], None, exact=True)
        again = scheduler.submit(vectors[5:], before.state, offset=5, exact=True)
        other = scheduler.submit(vectors[5:], before.state)
        got, stepped = await asyncio.gather(again, other)
    np.testing.assert_allclose(full.expected(vectors[:5]), before.vector, atol=1e-6)
    np.testing.assert_allclose(full.expected(vectors), got.vector, atol=1e-6)
    assert 1 == len(step.batches)
    assert not np.allclose(got.vector, stepped.vector, atol=1e-4)


@pytest.mark.parametrize("concurrent", [False, True])
async def test_concurrent_contexts_are_all_answered(concurrent):
    """Whatever else runs."""
    engine = FakeEngine(concurrent=concurrent)
    jobs = [unit_vectors(1 + i % 7, i) for i in range(16)]
    async with running(engine, prefill_chunk=2) as scheduler:
        got = await asyncio.gather(*(scheduler.submit(job, None) for job in jobs))
    for job, answer in zip(jobs, got, strict=True):
        np.testing.assert_allclose(engine.expected(job), answer.vector, atol=1e-6)


async def test_contexts_of_different_lengths_share_a_batch():
    """The padding of the shorter one does not change its prediction."""
    engine = FakeEngine()
    short, long = unit_vectors(3, 1), unit_vectors(9, 2)
    async with running(engine, prefill_chunk=4) as scheduler:
        first, tasks = await held(engine, scheduler, short, long)
        engine.gate.set()
        _, got_short, got_long = await asyncio.gather(first, *tasks)
    assert engine.batches == [[1], [3, 4], [4], [1]]
    np.testing.assert_allclose(engine.expected(short), got_short.vector, atol=1e-6)
    np.testing.assert_allclose(engine.expected(long), got_long.vector, atol=1e-6)


async def test_a_cancelled_request_does_not_affect_its_batch():
    """If it has not begun, the engine does not run it."""
    engine = FakeEngine()
    async with running(engine) as scheduler:
        first, tasks = await held(engine, scheduler, *(unit_vectors(1, i) for i in range(4)))
        tasks[1].cancel()
        engine.gate.set()
        await first
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    for i in (0, 2, 3):
        np.testing.assert_allclose(
            engine.expected(unit_vectors(1, i)), results[i].vector, atol=1e-6
        )
    assert engine.batches == [[1], [1, 1, 1]]


async def test_a_request_cancelled_in_the_engine_does_not_affect_its_batch():
    """The engine finishes the batch, and the others get their results."""
    engine = FakeEngine()
    async with running(engine) as scheduler:
        first, tasks = await held(engine, scheduler, unit_vectors(9, 1), unit_vectors(9, 2))
        engine.gate.set()
        await first
        engine.gate.clear()
        await asyncio.to_thread(engine.entered.acquire)
        tasks[0].cancel()
        await asyncio.sleep(0)
        engine.gate.set()
        got = await tasks[1]
    np.testing.assert_allclose(engine.expected(unit_vectors(9, 2)), got.vector, atol=1e-6)


async def test_a_full_queue_refuses_at_once():
    """The refused caller learns when to retry."""
    engine = FakeEngine()
    async with running(engine, queue_limit=2) as scheduler:
        first, tasks = await held(engine, scheduler, unit_vectors(1), unit_vectors(5))
        with pytest.raises(QueueFull) as refused:
            await scheduler.submit(unit_vectors(1), None)
        engine.gate.set()
        await asyncio.gather(first, *tasks)
    assert refused.value.retry_after > 0


async def test_cancelled_callers_free_their_places():
    """A queue of cancelled jobs refuses nobody."""
    engine = FakeEngine()
    async with running(engine, queue_limit=2) as scheduler:
        first, tasks = await held(engine, scheduler, unit_vectors(1), unit_vectors(5))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert scheduler.waiting == 0
        engine.gate.set()
        await first
        await scheduler.submit(unit_vectors(1), None)
    assert engine.batches == [[1], [1]]


async def test_a_result_of_another_shape_is_a_fault_and_the_thread_survives(caplog):
    """The version has no other thread."""
    engine = FakeEngine()
    run = engine.run
    async with running(engine) as scheduler:
        engine.run = lambda *feeds: tuple(output[:, :0] for output in run(*feeds))
        with pytest.raises(EngineFault, match="not"):
            await scheduler.submit(unit_vectors(1), None)
        engine.run = run
        await scheduler.submit(unit_vectors(1), None)
    assert "the engine failed" in caplog.text


@pytest.mark.parametrize("error", [fault(), RuntimeError("cuDNN")])
async def test_an_engine_that_raises_fails_one_batch(error, caplog):
    """The callers of that batch get an engine fault; the next ones are served."""
    engine = FakeEngine()
    async with running(engine) as scheduler:
        engine.faults.append(error)
        with pytest.raises(EngineFault, match=str(error)):
            await scheduler.submit(unit_vectors(6), None)
        got = await scheduler.submit(unit_vectors(1), None)
    np.testing.assert_allclose(engine.expected(unit_vectors(1)), got.vector, atol=1e-6)
    assert "the engine failed" in caplog.text


async def test_nan_from_the_engine_is_an_engine_fault():
    """It is never returned."""
    engine = FakeEngine()
    engine.poison = True
    async with running(engine) as scheduler:
        with pytest.raises(EngineFault, match="NaN"):
            await scheduler.submit(unit_vectors(1), None)


async def test_close_refuses_waiting_jobs_and_finishes_the_batch():
    """Every caller gets an answer."""
    engine = FakeEngine()
    async with running(engine) as scheduler:
        first, tasks = await held(engine, scheduler, unit_vectors(1))
        closing = asyncio.create_task(scheduler.close())
        with pytest.raises(NotReady):
            await tasks[0]
        engine.gate.set()
        await asyncio.gather(first, closing)
        with pytest.raises(NotReady):
            await scheduler.submit(unit_vectors(1), None)


@pytest.mark.parametrize("concurrent", [False, True])
async def test_close_refuses_a_context_between_two_chunks(concurrent):
    """Its caller learns it at once, not at its deadline."""
    engine = FakeEngine(concurrent=concurrent)
    async with running(engine, prefill_chunk=4) as scheduler:
        engine.gate.clear()
        task = asyncio.create_task(scheduler.submit(unit_vectors(9), None))
        await asyncio.to_thread(engine.entered.acquire)
        closing = asyncio.create_task(scheduler.close())
        await asyncio.sleep(0)
        engine.gate.set()
        await closing
        with pytest.raises(NotReady):
            await task
    assert engine.batches == [[4]]


class WatchedEngine(FakeEngine):
    """Records the thread of each run; a run takes `seconds` by `clock`."""

    def __init__(self, clock, seconds, *, concurrent=True):
        super().__init__(concurrent=concurrent)
        self.clock, self.seconds = clock, seconds
        self.here = []

    def run(self, vectors, lengths, state):
        self.here.append(threading.current_thread() is threading.main_thread())
        self.clock.advance(self.seconds)
        return super().run(vectors, lengths, state)


@pytest.mark.parametrize(
    ("seconds", "concurrent", "here"),
    [
        (0.0003, True, [False, True, True]),
        (0.002, True, [False, False, False]),
        (0.0003, False, [False, False, False]),
    ],
    ids=["short", "long", "one thread alone may run it"],
)
async def test_a_single_short_step_runs_on_the_event_loop(seconds, concurrent, here):
    """After a first short one; a longer one would block the event loop."""
    clock = FakeClock()
    engine = WatchedEngine(clock, seconds, concurrent=concurrent)
    vectors = unit_vectors(3)
    state = None
    async with running(engine, clock=clock) as scheduler:
        for count in range(3):
            got = await scheduler.submit(vectors[count : count + 1], state)
            state = got.state
            # Wait for the end of the loop's turn, as between two requests.
            await asyncio.sleep(0)
            assert got.inference_seconds == pytest.approx(seconds)
    np.testing.assert_allclose(engine.expected(vectors), got.vector, atol=1e-6)
    assert here == engine.here


async def test_of_concurrent_steps_only_the_first_runs_on_the_event_loop():
    """The others of the same turn are left to the engine's thread."""
    clock = FakeClock()
    engine = WatchedEngine(clock, 0.0003)
    jobs = [unit_vectors(1, i) for i in range(5)]
    async with running(engine, clock=clock) as scheduler:
        await scheduler.submit(unit_vectors(1), None)
        await asyncio.sleep(0)
        engine.here.clear()
        got = await asyncio.gather(*(scheduler.submit(job, None) for job in jobs))
        assert engine.here[0]
        assert not any(engine.here[1:])
    for job, answer in zip(jobs, got, strict=True):
        np.testing.assert_allclose(engine.expected(job), answer.vector, atol=1e-6)


async def test_a_fault_on_the_event_loop_is_an_engine_fault(caplog):
    """As on the engine's thread: the caller gets it, and the next one is served."""
    clock = FakeClock()
    engine = WatchedEngine(clock, 0.0003)
    async with running(engine, clock=clock) as scheduler:
        await scheduler.submit(unit_vectors(1), None)
        await asyncio.sleep(0)
        engine.faults.append(fault())
        with pytest.raises(EngineFault, match="memory"):
            await scheduler.submit(unit_vectors(1), None)
        await asyncio.sleep(0)
        await scheduler.submit(unit_vectors(1), None)
    assert engine.here == [False, True, True]
    assert "the engine failed" in caplog.text
