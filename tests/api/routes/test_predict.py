"""`POST /v1/predict` over HTTP."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.support.fakes import DIM, FakeEngine, fault, unit_vectors

BINARY = {"Content-Type": "application/octet-stream"}


async def test_json_in_json_out(service):
    """The prediction, its variant and version, and the timings."""
    context = unit_vectors(5)
    answer = await service.client.post(
        "/v1/predict", json={"context": context.tolist()}, headers={"X-Request-Id": "call-1"}
    )
    assert answer.status_code == 200
    content = answer.json()
    np.testing.assert_allclose(FakeEngine().expected(context), content["next_vector"], atol=1e-6)
    assert (content["variant"], content["version"]) == ("stable", "phase-2")
    assert answer.headers["x-variant"] == "stable"
    assert answer.headers["x-model-version"] == "phase-2"
    assert answer.headers["x-request-id"] == "call-1"
    parts = [part.partition(";dur=")[0] for part in answer.headers["server-timing"].split(", ")]
    assert parts == ["queue", "inference", "total"]


async def test_binary_in_binary_out(service):
    """Little-endian float32 in both directions."""
    context = unit_vectors(5)
    answer = await service.client.post(
        "/v1/predict",
        content=context.astype("<f4").tobytes(),
        headers={**BINARY, "Accept": "application/octet-stream"},
    )
    assert answer.headers["content-type"] == "application/octet-stream"
    got = np.frombuffer(answer.content, "<f4")
    np.testing.assert_allclose(FakeEngine().expected(context), got, atol=1e-6)


async def test_a_version_reads_its_last_window(service):
    """Vectors before the window are allowed and have no effect."""
    context = unit_vectors(50)
    answer = await service.client.post("/v1/predict", content=context.tobytes(), headers=BINARY)
    expected = FakeEngine().expected(context[-8:])
    np.testing.assert_allclose(expected, answer.json()["next_vector"], atol=1e-6)


async def test_an_override_names_the_variant_and_stays_out_of_the_evidence(service):
    """Its total duration and its time in the engine are counted as unassigned."""
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    await service.client.post(
        "/v1/predict",
        content=unit_vectors(3).tobytes(),
        headers={**BINARY, "X-Variant": "canary"},
    )
    counted = {
        variant: await service.metric(
            "nextvec_requests_total",
            variant=variant,
            version="phase-3",
            mode="prefill",
            outcome="ok",
        )
        for variant in ("canary", "unassigned")
    }
    assert counted == {"canary": 0, "unassigned": 1}
    labels = {"version": "phase-3", "mode": "prefill"}
    for name in ("request", "inference"):
        series = f"nextvec_{name}_duration_seconds_count"
        assert await service.metric(series, variant="canary", **labels) == 0
        assert await service.metric(series, variant="unassigned", **labels) is None
    assert await service.metric("nextvec_unassigned_duration_seconds_count", **labels) == 1


def raw(vectors):
    return {"content": np.asarray(vectors, "<f4").tobytes(), "headers": BINARY}


def nan_at(row):
    vectors = unit_vectors(4).copy()
    vectors[row, 1] = np.nan
    return vectors


def typed(kind, content=b"x"):
    return {"content": content, "headers": {"Content-Type": kind}}


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (raw([]), 422, "invalid"),
        (raw(nan_at(2)), 422, "invalid"),
        (raw([[np.inf, 0, 0, 0]]), 422, "invalid"),
        (raw([[1e30, 0, 0, 0]]), 422, "invalid"),
        (raw(np.zeros((1, DIM))), 422, "invalid"),
        (raw(unit_vectors(33)), 422, "invalid"),
        (raw(unit_vectors(3, dim=5)), 400, "malformed"),
        (raw(np.ones((100, DIM))), 413, "too_large"),
        ({"json": {"context": [[1.0, 2.0]]}}, 422, "invalid"),
        ({"json": {"context": []}}, 422, "invalid"),
        ({"json": {"context": [[1, 0, 0, 0]], "key": 3}}, 422, "invalid"),
        (typed("application/json"), 400, "malformed"),
        (typed("text/plain"), 415, "unsupported_media_type"),
        (
            {**raw(unit_vectors(1)), "headers": {**BINARY, "Content-Encoding": "gzip"}},
            415,
            "unsupported_media_type",
        ),
        ({**raw(unit_vectors(1)), "headers": {**BINARY, "X-Variant": "b"}}, 422, "invalid"),
        ({**raw(unit_vectors(1)), "headers": {**BINARY, "X-Variant": "canary"}}, 404, "no_canary"),
        (
            {**raw(unit_vectors(1)), "headers": {**BINARY, "Accept": "text/html"}},
            406,
            "not_acceptable",
        ),
    ],
)
async def test_bad_input_gets_its_status_and_the_errors_form(start, request_, status, code):
    """Nothing reaches the engine."""
    async with start(limits={"max_rows": 32, "max_body_bytes": 1000}) as service:
        before = len(service.engines["phase-2"].batches)
        answer = await service.client.post("/v1/predict", **request_)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()) == {"error", "code", "request_id"}
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert len(service.engines["phase-2"].batches) == before


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/nothing", "GET", 404), ("/v1/predict", "GET", 405)],
)
async def test_errors_of_the_framework_have_the_form_too(service, path, method, status):
    answer = await service.client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "code", "request_id"}


async def test_an_engine_fault_is_the_services_error(service):
    """500, counted as the version's error."""
    service.engines["phase-2"].faults.append(fault())
    answer = await service.client.post("/v1/predict", **raw(unit_vectors(2)))
    assert (answer.status_code, answer.json()["code"]) == (500, "engine_fault")
    errors = await service.metric(
        "nextvec_requests_total",
        variant="stable",
        version="phase-2",
        mode="prefill",
        outcome="error",
    )
    assert errors == 1


async def test_a_full_queue_answers_with_a_retry_time(start):
    """429 with Retry-After."""
    async with start(engine={"queue_limit": 1}) as service:
        engine = service.engines["phase-2"]
        while engine.entered.acquire(blocking=False):
            pass
        engine.gate.clear()
        tasks = [asyncio.create_task(service.client.post("/v1/predict", **raw(unit_vectors(1))))]
        await asyncio.to_thread(engine.entered.acquire)
        tasks.append(
            asyncio.create_task(service.client.post("/v1/predict", **raw(unit_vectors(1))))
        )
        scheduler = service.app.state.services.registry.get("phase-2").scheduler
        while not scheduler.waiting:
            await asyncio.sleep(0)
        refused = await service.client.post("/v1/predict", **raw(unit_vectors(1)))
        engine.gate.set()
        served = await asyncio.gather(*tasks)
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    assert [answer.status_code for answer in served] == [200, 200]


async def test_a_late_answer_is_a_timeout(start):
    """504, counted as the version's failure."""
    async with start(limits={"timeout_seconds": 0.01}) as service:
        service.engines["phase-2"].gate.clear()
        answer = await service.client.post("/v1/predict", **raw(unit_vectors(1)))
        service.engines["phase-2"].gate.set()
        timeouts = await service.metric(
            "nextvec_requests_total",
            variant="stable",
            version="phase-2",
            mode="prefill",
            outcome="timeout",
        )
    assert (answer.status_code, timeouts) == (504, 1)


async def test_before_it_is_ready_and_while_it_drains_it_says_so(service):
    """503. The health routes still answer."""
    service.app.state.services.accepting = False
    answer = await service.client.post("/v1/predict", **raw(unit_vectors(1)))
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert (await service.client.get("/v2/health/live")).status_code == 200
    ready = await service.client.get("/v2/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"live": True, "ready": False})


async def test_an_error_names_the_variant_that_was_chosen(service):
    """Callers can count errors by version."""
    service.engines["phase-2"].faults.append(fault())
    answer = await service.client.post("/v1/predict", **raw(unit_vectors(2)))
    assert answer.status_code == 500
    assert (answer.headers["x-variant"], answer.headers["x-model-version"]) == ("stable", "phase-2")


async def test_an_unexpected_exception_has_the_form_of_an_error(service, monkeypatch, caplog):
    """With the request id under which it is logged."""

    async def broken(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(service.app.state.services.dispatch, "predict", broken)
    answer = await service.client.post(
        "/v1/predict", **{**raw(unit_vectors(1)), "headers": {**BINARY, "X-Request-Id": "odd-1"}}
    )
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "odd-1"
    assert "odd-1" in caplog.text
