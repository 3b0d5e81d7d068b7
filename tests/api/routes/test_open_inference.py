"""`/v2` over HTTP, over fake engines."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fakes import FakeEngine, fault, unit_vectors
from tests.support.open_inference import (
    CONTEXT,
    LENGTH,
    MODEL,
    infer,
    infer_binary,
    infer_json,
    output_of,
)


@pytest.mark.parametrize("form", [infer_json, infer_binary])
async def test_a_context_is_answered_in_the_requested_form(service, form):
    """With the id, model and version, and the headers of every prediction."""
    call = form(CONTEXT, id="call-7")
    answer = await service.client.post(f"{MODEL}/infer", **call)
    np.testing.assert_allclose(FakeEngine().expected(CONTEXT)[None], output_of(answer), atol=1e-6)
    head = orjson.loads(answer.content[: int(answer.headers.get(LENGTH, len(answer.content)))])
    assert ("call-7", "next-vector", "phase-2") == (
        head["id"],
        head["model_name"],
        head["model_version"],
    )
    binary = form is infer_binary
    expected = "application/octet-stream" if binary else "application/json"
    assert expected == answer.headers["content-type"]
    assert "stable" == answer.headers["x-variant"]
    assert "phase-2" == answer.headers["x-model-version"]
    assert {"server-timing", "x-request-id"} <= set(answer.headers)


async def test_a_raw_body_is_answered_in_binary(service):
    """A header length of 0 means that there is no JSON."""
    answer = await service.client.post(
        f"{MODEL}/infer", content=CONTEXT.astype("<f4").tobytes(), headers={LENGTH: "0"}
    )
    assert LENGTH in answer.headers
    np.testing.assert_allclose(FakeEngine().expected(CONTEXT)[None], output_of(answer), atol=1e-6)


async def test_a_batch_runs_side_by_side_and_is_one_request(service):
    """One prediction each, in order, by one variant: `[batch, dim]`."""
    contexts = np.stack([unit_vectors(4, seed) for seed in range(3)])
    answer = await service.client.post(f"{MODEL}/infer", **infer_binary(contexts))
    expected = [FakeEngine().expected(context) for context in contexts]
    np.testing.assert_allclose(expected, output_of(answer), atol=1e-6)
    counted = await service.metric(
        "nextvec_requests_total",
        variant="stable",
        version="phase-2",
        mode="prefill",
        outcome="ok",
    )
    assert 1 == counted


async def test_one_failing_context_fails_its_batch(service):
    """The caller gets an error, never a partial response."""
    contexts = np.stack([unit_vectors(1, seed) for seed in range(40)])  # more than one run takes
    service.engines["phase-2"].faults.append(fault())
    answer = await service.client.post(f"{MODEL}/infer", **infer_binary(contexts))
    assert (500, "engine_fault") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_body_is_accepted(service, encoding):
    """The length of the JSON counts uncompressed bytes."""
    call = infer_binary(CONTEXT, headers={"Content-Encoding": encoding})
    compress = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    call["content"] = compress(call["content"])
    answer = await service.client.post(f"{MODEL}/infer", **call)
    np.testing.assert_allclose(FakeEngine().expected(CONTEXT)[None], output_of(answer), atol=1e-6)


async def test_large_json_is_parsed_off_the_loop(start):
    """The response is the same as for small JSON."""
    context = unit_vectors(2000)
    async with start() as service:
        call = infer_json(context)
        assert len(call["content"]) > 64 * 1024
        answer = await service.client.post(f"{MODEL}/infer", **call)
    np.testing.assert_allclose(
        FakeEngine().expected(context[-8:])[None], output_of(answer), atol=1e-6
    )


# --- who answers ---


async def test_a_version_in_the_path_goes_past_the_split_and_the_evidence(service):
    """Any loaded version, counted as unassigned. A version outside the split has no variant."""
    answer = await infer(service, CONTEXT, f"{MODEL}/versions/phase-3")
    np.testing.assert_allclose(
        FakeEngine(0.9).expected(CONTEXT)[None], output_of(answer), atol=1e-6
    )
    assert "phase-3" == answer.headers["x-model-version"]
    assert "x-variant" not in answer.headers
    stable = await infer(service, CONTEXT, f"{MODEL}/versions/phase-2")
    assert "stable" == stable.headers["x-variant"]
    counted = {
        (variant, version): await service.metric(
            "nextvec_requests_total",
            variant=variant,
            version=version,
            mode="prefill",
            outcome="ok",
        )
        for variant, version in [
            ("unassigned", "phase-3"),
            ("unassigned", "phase-2"),
            ("stable", "phase-2"),
        ]
    }
    assert [1, 1, 0] == list(counted.values())


async def test_the_canarys_version_in_the_path_is_answered_as_the_canary(service):
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    answer = await infer(service, CONTEXT, f"{MODEL}/versions/phase-3")
    assert "canary" == answer.headers["x-variant"]


async def test_an_override_works_as_elsewhere(service):
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    answer = await infer(service, CONTEXT, headers={"X-Variant": "canary"})
    assert ("canary", "phase-3") == (
        answer.headers["x-variant"],
        answer.headers["x-model-version"],
    )


async def test_the_same_key_gets_the_same_variant_by_header_or_parameter(service):
    """The same variant as under `/v1`."""
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    for key in "abcdefgh":
        of_v1 = await service.client.post(
            "/v1/predict", json={"context": CONTEXT.tolist(), "key": key}
        )
        by_header = await infer(service, CONTEXT, headers={"X-Routing-Key": key})
        by_parameter = await infer(service, CONTEXT, routing_key=key)
        answers = (of_v1, by_header, by_parameter)
        assert 1 == len({answer.headers["x-variant"] for answer in answers})


async def test_a_version_that_is_not_loaded_makes_no_series(service):
    """404. Text from a caller never becomes a label."""
    answer = await infer(service, CONTEXT, f"{MODEL}/versions/phase-9")
    assert (404, "version_not_found") == (answer.status_code, answer.json()["code"])
    assert "phase-9" not in (await service.client.get("/metrics")).text


async def test_a_deadline_of_the_callers_own_is_not_the_versions_fault(service):
    """504, counted as a cancelled request."""
    service.engines["phase-2"].gate.clear()
    answer = await infer(service, CONTEXT, timeout=1000)
    service.engines["phase-2"].gate.set()
    assert (504, "deadline_exceeded") == (answer.status_code, answer.json()["code"])
    counted = {
        outcome: await service.metric(
            "nextvec_requests_total",
            variant="stable",
            version="phase-2",
            mode="prefill",
            outcome=outcome,
        )
        for outcome in ("timeout", "cancelled")
    }
    assert {"timeout": 0, "cancelled": 1} == counted


def wrong(change, **headers):
    call = infer_json(CONTEXT)
    call["content"] = change(call["content"])
    return {**call, "headers": headers}


def json_of(vectors, **changes):
    tensor = {"name": "vectors", "shape": list(np.shape(vectors)), "datatype": "FP32"}
    return {"content": orjson.dumps({"inputs": [{**tensor, "data": vectors, **changes}]})}


def binary_of(vectors):
    return infer_binary(np.asarray(vectors, np.float32))


ONE = [[1.0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ({"content": b""}, 422, "invalid"),
        ({"content": b"{"}, 400, "malformed"),
        ({"content": b"[]"}, 400, "malformed"),
        ({"content": b"\xff"}, 400, "malformed"),
        (json_of(ONE, name="x"), 400, "malformed"),
        (json_of(ONE, datatype="INT8"), 400, "malformed"),
        (json_of(ONE, shape=[2, 4]), 400, "malformed"),
        (json_of([[1.0, 0, 0]]), 422, "invalid"),
        (json_of([[1.0, 0, 0, 0, 0]]), 422, "invalid"),
        (json_of([[1e300, 0, 0, 0]]), 422, "invalid"),
        (json_of([[0, 0, 0, 0]]), 422, "invalid"),
        (json_of([], shape=[0, 4]), 422, "invalid"),
        (json_of([], shape=[2**50, 0, 4]), 422, "invalid"),
        (binary_of([[np.nan, 0, 0, 0]]), 422, "invalid"),
        (binary_of([[np.inf, 0, 0, 0]]), 422, "invalid"),
        (binary_of(np.ones((33, 4))), 422, "invalid"),
        (binary_of(np.ones((11, 3, 4))), 422, "invalid"),
        (binary_of(np.ones((9, 1, 4))), 422, "invalid"),
        (binary_of(np.ones((100, 4))), 413, "too_large"),
        (wrong(lambda c: c, **{LENGTH: "99999"}), 400, "malformed"),
        (wrong(lambda c: c, **{LENGTH: "-1"}), 400, "malformed"),
        (wrong(lambda c: c, **{LENGTH: "0"}), 400, "malformed"),
        (wrong(lambda c: c + b"x" * 16), 400, "malformed"),
        (wrong(lambda c: c, **{"Content-Encoding": "gzip"}), 400, "malformed"),
        (wrong(gzip.compress, **{"Content-Encoding": "br"}), 415, "unsupported_media_type"),
        (
            wrong(lambda _: gzip.compress(bytes(10**7)), **{"Content-Encoding": "gzip"}),
            413,
            "too_large",
        ),
        (wrong(lambda c: c, **{"X-Variant": "canary"}), 404, "no_canary"),
        (wrong(lambda c: c, **{"X-Variant": "b"}), 422, "invalid"),
        (
            infer_json(np.ones((2, 1, 4)), parameters={"sequence_id": 1, "sequence_start": True}),
            422,
            "invalid",
        ),
        (infer_json(CONTEXT, parameters={"sequence_id": 1}), 404, "session_not_found"),
    ],
)
async def test_bad_input_gets_its_status_and_the_protocols_form(start, call, status, code):
    """`error`, with the media type `application/json`. Nothing reaches the engine."""
    limits = {"max_rows": 32, "max_body_bytes": 1200}
    async with start(limits=limits, engine={"queue_limit": 8}) as service:
        before = len(service.engines["phase-2"].batches)
        answer = await service.client.post(f"{MODEL}/infer", **call)
        assert (status, code) == (answer.status_code, answer.json()["code"])
        assert "application/json" == answer.headers["content-type"]
        assert isinstance(answer.json()["error"], str)
        assert before == len(service.engines["phase-2"].batches)


async def test_a_version_and_a_variant_at_once_are_refused(service):
    """They could contradict each other."""
    answer = await infer(
        service, CONTEXT, f"{MODEL}/versions/phase-2", headers={"X-Variant": "stable"}
    )
    assert (422, "invalid") == (answer.status_code, answer.json()["code"])


async def test_while_it_drains_it_says_so(service):
    service.app.state.services.accepting = False
    answer = await infer(service, CONTEXT)
    assert (503, "application/json") == (answer.status_code, answer.headers["content-type"])
    ready = await service.client.get(f"{MODEL}/ready")
    assert (503, {"name": "next-vector", "ready": False}) == (ready.status_code, ready.json())


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60)
    | st.builds(
        lambda shape, data: orjson.dumps(
            {"inputs": [{"name": "vectors", "shape": shape, "datatype": "FP32", "data": data}]}
        ),
        st.lists(st.integers(0, 2**62), max_size=3),
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=9),
    ),
    length=st.none() | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=5),
    encoding=st.sampled_from([None, "gzip", "deflate", "identity"]),
)
async def test_arbitrary_bytes_never_give_a_server_error(service, content, length, encoding):
    """The status is below 500."""
    headers = {LENGTH: length, "Content-Encoding": encoding}
    answer = await service.client.post(
        f"{MODEL}/infer",
        content=content,
        headers={name: value for name, value in headers.items() if value is not None},
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert "error" in answer.json()
