"""Sequences of `/v2`: sessions that a client names by number or text."""

from __future__ import annotations

import asyncio

import numpy as np

from tests.support.fakes import FakeEngine, fault, unit_vectors
from tests.support.open_inference import CONTEXT, MODEL, infer, output_of


async def test_a_sequence_grows_on_the_server(service):
    """Each part gets the prediction of the whole context. The end forgets the sequence."""
    vectors = unit_vectors(7)
    parts = [(0, 4, {"sequence_start": True}), (4, 5, {}), (5, 7, {"sequence_end": True})]
    for first, last, flags in parts:
        answer = await infer(service, vectors[first:last], sequence_id=42, **flags)
        expected = FakeEngine().expected(vectors[:last])[None]
        np.testing.assert_allclose(expected, output_of(answer), atol=1e-6)
    assert [4, 1, 2] == [sum(b) for b in service.engines["phase-2"].batches[-3:]]
    assert 404 == (await service.client.get("/v1/sessions/42")).status_code
    late = await infer(service, vectors[:1], sequence_id=42)
    assert (404, "session_not_found") == (late.status_code, late.json()["code"])
    assert 0 == await service.metric("nextvec_sessions")


async def test_a_start_drops_the_previous_context(service):
    """Also while other requests of the sequence wait."""
    vectors = unit_vectors(6)
    await infer(service, vectors[:3], sequence_id="a", sequence_start=True)
    answer = await infer(service, vectors[3:], sequence_id="a", sequence_start=True)
    np.testing.assert_allclose(
        FakeEngine().expected(vectors[3:])[None], output_of(answer), atol=1e-6
    )
    assert 3 == (await service.client.get("/v1/sessions/a")).json()["length"]


async def test_a_start_that_fails_leaves_the_sequence_as_it_was(service):
    vectors = unit_vectors(4)
    await infer(service, vectors[:3], sequence_id="a", sequence_start=True)
    service.engines["phase-2"].faults.append(fault())
    failed = await infer(service, vectors, sequence_id="a", sequence_start=True)
    assert 500 == failed.status_code
    answer = await infer(service, vectors[3:], sequence_id="a")
    np.testing.assert_allclose(FakeEngine().expected(vectors)[None], output_of(answer), atol=1e-6)


def waiting(service, session_id):
    """The number of appends that use the session or wait for it."""
    store = service.app.state.services.dispatch._sessions
    session = store._new.get(session_id)
    return 0 if session is None else session.users


async def test_requests_sent_without_waiting_run_in_order(service):
    """A start, a continuation and an end that are sent together."""
    vectors = unit_vectors(5)
    engine = service.engines["phase-2"]
    engine.gate.clear()
    flags = [{"sequence_start": True}, {}, {}, {}, {"sequence_end": True}]
    calls = []
    for position, flag in enumerate(flags):
        work = infer(service, vectors[position : position + 1], sequence_id=1, **flag)
        calls.append(asyncio.create_task(work))
        while waiting(service, "1") <= position:  # until it has reached the session
            await asyncio.sleep(0)
    engine.gate.set()
    for position, answer in enumerate(await asyncio.gather(*calls)):
        expected = FakeEngine().expected(vectors[: position + 1])[None]
        np.testing.assert_allclose(expected, output_of(answer), atol=1e-6)


async def test_an_evicted_sequence_is_gone_and_can_start_again(service):
    """410 tells the caller to send the context again."""
    await infer(service, CONTEXT, sequence_id=5, sequence_start=True)
    service.clock.advance(3600)
    gone = await infer(service, CONTEXT, sequence_id=5)
    assert (410, "session_gone") == (gone.status_code, gone.json()["code"])
    again = await infer(service, CONTEXT, sequence_id=5, sequence_start=True)
    assert 200 == again.status_code


async def test_a_sequence_on_a_named_version_can_be_read(service):
    """Its session has no variant."""
    path = f"{MODEL}/versions/phase-3"
    await infer(service, CONTEXT, path, sequence_id=8, sequence_start=True)
    session = (await service.client.get("/v1/sessions/8")).json()
    assert (None, "phase-3", 5) == (session["variant"], session["version"], session["length"])
    moved = await infer(service, unit_vectors(1, seed=9), sequence_id=8)
    assert "phase-2" == moved.headers["x-model-version"]
