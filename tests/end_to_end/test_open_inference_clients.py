"""`/v2` with the common clients: tritonclient and KServe's."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.support.fakes import unit_vectors
from tests.support.serving import TOKEN

MODEL = "next-vector"
DIM = 768
CONTEXT = unit_vectors(12, dim=DIM)
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def address(server):
    return f"{server.client.base_url.host}:{server.client.base_url.port}"


@pytest.fixture
def client(address):
    with closing(triton.InferenceServerClient(address, concurrency=4)) as found:
        yield found


def tensor_of(vectors, *, binary=True, module=triton, datatype="FP32"):
    tensor = module.InferInput("vectors", list(vectors.shape), datatype)
    tensor.set_data_from_numpy(vectors, binary_data=binary)
    return [tensor]


def test_triton_reads_what_the_server_says(client):
    """tritonclient parses health, metadata, configuration and statistics."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "phase-3")
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(MODEL)
    assert ["phase-2", "phase-3"] == metadata["versions"]
    assert [-1, -1, DIM] == metadata["inputs"][0]["shape"]
    assert 0 == client.get_model_config(MODEL)["max_batch_size"]
    client.infer(MODEL, tensor_of(CONTEXT))
    stats = client.get_inference_statistics(MODEL, "phase-2")["model_stats"][0]
    assert stats["inference_count"] >= 1
    assert stats["inference_stats"]["compute_infer"]["ns"] > 0
    assert 2 == len(client.get_inference_statistics()["model_stats"])


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_triton_sends_and_takes_either_form(server, client, binary_in, binary_out):
    """JSON and binary in both directions; None omits the outputs."""
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput("next_vector", binary_data=binary_out)]
    answer = client.infer(
        MODEL, tensor_of(CONTEXT, binary=binary_in), outputs=outputs, request_id="call-1"
    )
    got = answer.as_numpy("next_vector")
    assert (1, DIM) == got.shape
    np.testing.assert_allclose(server.predict(CONTEXT), got[0], atol=1e-6)
    response = answer.get_response()
    assert ("call-1", MODEL, "phase-2") == (
        response["id"],
        response["model_name"],
        response["model_version"],
    )


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_triton_may_compress(server, client, algorithm):
    answer = client.infer(
        MODEL,
        tensor_of(CONTEXT),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_allclose(
        server.predict(CONTEXT), answer.as_numpy("next_vector")[0], atol=1e-6
    )


def test_triton_sends_half_precision_and_batches(server, client):
    """FP16 inputs give FP32 outputs; a batch keeps its order."""
    half = CONTEXT.astype(np.float16)
    answer = client.infer(MODEL, tensor_of(half, datatype="FP16"))
    np.testing.assert_allclose(
        server.predict(half.astype(np.float32)), answer.as_numpy("next_vector")[0], atol=1e-6
    )
    contexts = np.stack([unit_vectors(5, seed, DIM) for seed in range(3)])
    got = client.infer(MODEL, tensor_of(contexts)).as_numpy("next_vector")
    expected = [server.predict(context) for context in contexts]
    np.testing.assert_allclose(expected, got, atol=1e-5)


def test_triton_asks_for_a_version_or_a_variant(server, client):
    """A version in the path selects it; the headers of `/v1` work here too."""
    answer = client.infer(MODEL, tensor_of(CONTEXT), model_version="phase-3")
    assert "phase-3" == answer.get_response()["model_version"]
    stable = client.infer(MODEL, tensor_of(CONTEXT)).as_numpy("next_vector")
    assert np.abs(stable - answer.as_numpy("next_vector")).max() > 1e-3
    named = client.infer(MODEL, tensor_of(CONTEXT), headers={"X-Variant": "stable"})
    np.testing.assert_allclose(stable, named.as_numpy("next_vector"), atol=1e-6)


@pytest.mark.parametrize("sequence_id", [4711, "a-sequence"])
def test_triton_grows_a_sequence(server, client, sequence_id):
    """A sequence equals recomputation within the window and past it; `sequence_end` deletes it."""
    vectors = unit_vectors(30, dim=DIM)
    cuts = [0, 9, *range(10, 31)]
    for first, last in pairwise(cuts):
        answer = client.infer(
            MODEL,
            tensor_of(vectors[first:last]),
            sequence_id=sequence_id,
            sequence_start=first == 0,
            sequence_end=last == 30,
        )
        np.testing.assert_allclose(
            server.predict(vectors[:last]), answer.as_numpy("next_vector")[0], atol=1e-5
        )
    with pytest.raises(InferenceServerException, match="there is no session") as refused:
        client.infer(MODEL, tensor_of(vectors[:1]), sequence_id=sequence_id)
    assert "404" == refused.value.status()


def test_triton_calls_at_once(server, client):
    """Several asynchronous calls are in flight at once."""
    contexts = [unit_vectors(3 + seed, seed, DIM) for seed in range(8)]
    calls = [client.async_infer(MODEL, tensor_of(context)) for context in contexts]
    for context, call in zip(contexts, calls, strict=True):
        got = call.get_result(timeout=30).as_numpy("next_vector")[0]
        np.testing.assert_allclose(server.predict(context), got, atol=1e-5)


async def test_triton_calls_from_asyncio(server, address):
    """tritonclient.http.aio runs a sequence."""
    client = triton_aio.InferenceServerClient(address)
    try:
        assert await client.is_server_ready()
        for last in range(1, 4):
            answer = await client.infer(
                MODEL,
                tensor_of(CONTEXT[last - 1 : last], module=triton_aio),
                sequence_id=99,
                sequence_start=last == 1,
                sequence_end=last == 3,
            )
        expected = server.predict(CONTEXT[:3])
        np.testing.assert_allclose(expected, answer.as_numpy("next_vector")[0], atol=1e-5)
        with pytest.raises(InferenceServerException, match="unknown"):
            await client.infer(MODEL, [triton_aio.InferInput("x", [1], "FP32")])
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("vectors", "options", "status", "said"),
    [
        (unit_vectors(2, dim=3), {}, "422", "not \\[n, 768\\]"),
        (np.full((1, DIM), np.nan, np.float32), {}, "422", "NaN"),
        (CONTEXT, {"model_version": "phase-9"}, "404", "phase-9"),
        (CONTEXT, {"headers": {"X-Variant": "b"}}, "422", "X-Variant"),
        (CONTEXT, {"sequence_id": "never-begun"}, "404", "there is no session"),
    ],
)
def test_triton_shows_what_was_wrong(client, vectors, options, status, said):
    """The client raises the service's own message."""
    with pytest.raises(InferenceServerException, match=said) as refused:
        client.infer(MODEL, tensor_of(vectors), **options)
    assert status == refused.value.status()


def test_triton_manages_the_repository(client):
    """Index, unload and load need an operator's token; the query names the version."""
    with pytest.raises(InferenceServerException) as refused:
        client.get_model_repository_index()
    assert "401" == refused.value.status()
    named = {"headers": ADMIN, "query_params": {"version": "phase-3"}}
    client.unload_model(MODEL, **named)
    assert not client.is_model_ready(MODEL, "phase-3")
    index = client.get_model_repository_index(headers=ADMIN)
    assert {"phase-2": "READY", "phase-3": "UNAVAILABLE"} == {
        entry["version"]: entry["state"] for entry in index
    }
    client.load_model(MODEL, **named)
    assert client.is_model_ready(MODEL, "phase-3")
    with pytest.raises(InferenceServerException, match="stable"):
        client.unload_model(MODEL, headers=ADMIN, query_params={"version": "phase-2"})


def kserve_python():
    """The Python interpreter that can import kserve, or None."""
    if importlib.util.find_spec("kserve"):
        return Path(sys.executable)
    named = os.environ.get("NEXTVEC_TEST_KSERVE_PYTHON", ".venv-kserve/bin/python")
    return Path(named) if Path(named).is_file() else None


@pytest.mark.skipif(
    kserve_python() is None,
    reason="kserve is not installed: make kserve-client puts it into an environment of its own",
)
def test_kserve_gets_its_answers(server):
    """InferenceRESTClient reads readiness, JSON, binary tensors, and an error."""
    vectors = io.BytesIO()
    np.save(vectors, CONTEXT)
    script = Path(__file__).parent / "kserve_calls.py"
    url = str(server.client.base_url)
    ran = subprocess.run(
        [kserve_python(), script, url], input=vectors.getvalue(), capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    found = json.loads(ran.stdout)
    assert [True, True, True, False] == [
        found[name] for name in ("live", "ready", "model_ready", "other_ready")
    ]
    for form in ("json", "binary"):
        answer = found[form]
        assert ("k-1", MODEL) == (answer["id"], answer["model"])
        np.testing.assert_allclose(server.predict(CONTEXT), answer["vector"][0], atol=1e-6)
    assert "not [n, 768]" in found["error"]
    assert "422" in found["error"]


def test_a_wrong_header_length_affects_its_caller_alone(server):
    """A wrong length gets an error in the contract's form; the next caller is served."""
    url = server.client.base_url
    with httpx.Client(base_url=url, timeout=10) as other:
        answer = other.post(
            f"/v2/models/{MODEL}/infer",
            content=b'{"inputs": []}',
            headers={"Inference-Header-Content-Length": "99999999999"},
        )
        assert (400, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert server.client.get("/v2/health/ready").status_code == 200
