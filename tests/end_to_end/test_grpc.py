"""The Open Inference Protocol over gRPC, with tritonclient and against the real server."""

from __future__ import annotations

import json
import queue
import signal
from contextlib import closing

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.utils import InferenceServerException

from tests.support.fakes import unit_vectors
from tests.support.ports import free_port
from tests.support.serving import serving

MODEL = "next-vector"
CONTEXT = unit_vectors(12, dim=768)
KEY = "key-of-a-key-of-a"


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two of HTTP"])
def rpc(request, models, tmp_path_factory):
    """A server with gRPC: the server, and its address for gRPC."""
    port = free_port()
    options = {"NEXTVEC_RPC__PORT": str(port), "NEXTVEC_HTTP__WORKERS": request.param}
    with serving(models, tmp_path_factory.mktemp("rpc"), **options) as server:
        yield server, f"127.0.0.1:{port}"


@pytest.fixture
def client(rpc):
    with closing(triton.InferenceServerClient(rpc[1])) as found:
        yield found


def tensor_of(vectors):
    tensor = triton.InferInput("vectors", list(vectors.shape), "FP32")
    tensor.set_data_from_numpy(vectors)
    return [tensor]


def next_vector(response):
    return response.as_numpy("next_vector")


def test_triton_reads_what_the_server_says(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert not client.is_model_ready(MODEL, "phase-9")
    metadata = client.get_model_metadata(MODEL)
    assert list(metadata.versions) == ["phase-2"]
    assert list(metadata.inputs[0].shape) == [-1, -1, 768]


def test_a_context_has_the_prediction_of_http(rpc, client):
    answer = client.infer(MODEL, tensor_of(CONTEXT), request_id="7")
    np.testing.assert_allclose(next_vector(answer)[0], rpc[0].predict(CONTEXT), atol=1e-6)
    assert (answer.get_response().id, answer.get_response().model_version) == ("7", "phase-2")


def test_a_batch_has_a_prediction_each(client):
    batch = CONTEXT.reshape(3, 4, 768)
    answers = next_vector(client.infer(MODEL, tensor_of(batch)))
    alone = [next_vector(client.infer(MODEL, tensor_of(context)))[0] for context in batch]
    np.testing.assert_allclose(answers, alone, atol=1e-5)


def test_a_stream_continues_sequences_and_an_error_answers_one_request(client):
    """Responses are in the order of the requests."""
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for at, vector in enumerate(CONTEXT):
        for sequence in ("even", "odd", "lost"):
            client.async_stream_infer(
                MODEL,
                tensor_of(vector[None]),
                sequence_id=sequence,
                sequence_start=at == 0 and sequence != "lost",
                sequence_end=at == len(CONTEXT) - 1,
                request_id=f"{sequence}-{at}",
            )
    found = [answers.get(timeout=30) for _ in range(3 * len(CONTEXT))]
    client.stop_stream()
    for at in range(len(CONTEXT)):
        (even, no_error), (odd, _), (nothing, lost) = found[3 * at : 3 * at + 3]
        assert (no_error, nothing) == (None, None)
        assert even.get_response().id == f"even-{at}"
        np.testing.assert_allclose(next_vector(even), next_vector(odd), atol=1e-5)
        assert "session_not_found" in str(lost)
    whole = next_vector(client.infer(MODEL, tensor_of(CONTEXT)))
    np.testing.assert_allclose(next_vector(found[-3][0]), whole, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "vectors", "options", "status", "text"),
    [
        ("other", CONTEXT, {}, "NOT_FOUND", "there is no model 'other'"),
        (MODEL, CONTEXT[:, :5], {}, "INVALID_ARGUMENT", "not .n, 768."),
        (MODEL, CONTEXT * np.float32(np.nan), {}, "INVALID_ARGUMENT", "NaN"),
        (MODEL, CONTEXT[:1], {"sequence_id": 99}, "NOT_FOUND", "there is no session '99'"),
        (MODEL, CONTEXT, {"model_version": "phase-9"}, "NOT_FOUND", "phase-9"),
        (MODEL, CONTEXT, {"headers": {"x-variant": "blue"}}, "INVALID_ARGUMENT", "X-Variant"),
    ],
)
def test_an_error_has_a_status_and_says_what_to_do(client, model, vectors, options, status, text):
    with pytest.raises(InferenceServerException, match=text) as caught:
        client.infer(model, tensor_of(vectors), **options)
    assert caught.value.status() == f"StatusCode.{status}"


def test_the_metadata_of_a_call_names_request_variant_and_code(rpc):
    with grpc.insecure_channel(rpc[1]) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff", metadata=[("x-request-id", "mine")])
    trailing = dict(caught.value.trailing_metadata())
    assert trailing["nextvec-code"] == "malformed"
    assert trailing["x-request-id"] == "mine"
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_health_and_reflection_answer(rpc):
    with grpc.insecure_channel(rpc[1]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "inference.GRPCInferenceService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "inference.GRPCInferenceService" in database.get_services()
        file = database.FindFileContainingSymbol("inference.ModelInferRequest")
        assert "InferTensorContents" in {message.name for message in file.message_type}


def test_a_prediction_without_a_key_is_refused_before_its_message(models, tmp_path):
    port = free_port()
    keys = json.dumps([{"name": "a", "key": KEY}])
    options = {"NEXTVEC_RPC__PORT": str(port), "NEXTVEC_CALLERS__KEYS": keys}
    with (
        serving(models, tmp_path, **options) as server,
        closing(triton.InferenceServerClient(f"127.0.0.1:{port}")) as client,
    ):
        assert client.is_server_ready()
        for headers in ({}, {"x-api-key": "wrong"}):
            with pytest.raises(InferenceServerException, match="API key") as caught:
                client.infer(MODEL, tensor_of(CONTEXT), headers=headers)
            assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
            client.infer(MODEL, tensor_of(CONTEXT), headers=headers)
        assert 'nextvec_failed_logins_total{reason="unknown",surface="predictions"} 1.0' in (
            server.client.get("/metrics").text
        )


def test_a_drain_shows_in_health_and_answers_what_is_open(models, tmp_path):
    port = free_port()
    options = {"NEXTVEC_RPC__PORT": str(port), "NEXTVEC_HTTP__DRAIN_SECONDS": "1.5"}
    with (
        serving(models, tmp_path, **options) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        closing(triton.InferenceServerClient(f"127.0.0.1:{port}")) as client,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        client.infer(MODEL, tensor_of(CONTEXT))  # still served
        watch.cancel()
        assert server.process.wait(timeout=20) in {0, -signal.SIGTERM}


def test_a_port_in_use_is_a_clear_error(models, tmp_path, rpc):
    with pytest.raises(AssertionError, match=r"gRPC cannot listen on .* choose another rpc\.port"):  # noqa: SIM117
        with serving(models, tmp_path, NEXTVEC_RPC__PORT=rpc[1].rpartition(":")[2]):
            pass
