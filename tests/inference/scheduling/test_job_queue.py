"""Which jobs run next."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from service.inference.scheduling.job import Job
from service.inference.scheduling.job_queue import JobQueue


def job(length=1, *, gone=False):
    future = SimpleNamespace(done=lambda: gone)
    return Job(np.zeros((length, 4), np.float32), None, future, 0.0)


def queue_of(*jobs, max_steps=8, max_prefills=2):
    queue = JobQueue(max_steps, max_prefills)
    for each in jobs:
        queue.add(each)
    return queue


def test_steps_are_taken_in_order_up_to_a_batch():
    steps = [job() for _ in range(5)]
    queue = queue_of(*steps, job(3), max_steps=3)
    assert queue.waiting == 6
    assert [steps[:3], steps[3:], []] == [queue.take_steps() for _ in range(3)]
    assert queue.waiting == 1


def test_cancelled_jobs_are_not_taken():
    here = job()
    assert [here] == queue_of(job(gone=True), here, job(gone=True)).take_steps()


def test_unfinished_contexts_go_back_to_the_head():
    first, second, third = job(10), job(10), job(10)
    queue = queue_of(first, second, third)
    taken = queue.take_prefills()
    assert [first, second] == taken
    first.done, second.done = 10, 4
    queue.put_back(taken)
    assert [second, third] == list(queue.prefills)


def test_running_contexts_count_as_vectors_to_run():
    first, second, third = job(10), job(20), job(30)
    queue = queue_of(first, second, third, job())
    assert queue.prefill_vectors == 60
    taken = queue.take_prefills()
    first.done = 5
    assert (queue.prefill_vectors, queue.waiting) == (55, 2)
    queue.put_back(taken)
    assert (queue.prefill_vectors, queue.waiting) == (55, 4)


def test_a_withdrawn_job_frees_its_place():
    step, context = job(), job(3)
    queue = queue_of(step, context)
    queue.withdraw(step)
    queue.withdraw(step)
    queue.withdraw(context)
    assert queue.waiting == 0


def test_clear_returns_the_waiting_jobs():
    step, context = job(), job(3)
    queue = queue_of(context, step)
    assert [step, context] == queue.clear()
    assert queue.waiting == 0
