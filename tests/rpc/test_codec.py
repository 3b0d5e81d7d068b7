"""gRPC's messages become arrays or are refused, whatever bytes come."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Invalid, Malformed
from service.rpc.codec import parse, render
from service.rpc.messages import ModelInferRequest, ModelInferResponse
from tests.support.fakes import unit_vectors

DIM = 8
ROWS = unit_vectors(6, dim=DIM)


def message(**changes):
    given_fields = {
        "model_name": "m",
        "inputs": [{"name": "vectors", "datatype": "FP32", "shape": [6, DIM]}],
        "raw_input_contents": [ROWS.tobytes()],
        **changes,
    }
    return ModelInferRequest(**given_fields).SerializeToString()


def tensor(**changes):
    return [{"name": "vectors", "datatype": "FP32", "shape": [6, DIM], **changes}]


def read(content, most=100):
    return parse(content, DIM, most)[1]


def test_raw_contents_are_the_rows():
    found = read(message(id="7"))
    np.testing.assert_array_equal(found.contexts, ROWS[None])
    assert (found.id, found.binary_output, found.sequence) == ("7", True, None)


@pytest.mark.parametrize(
    ("datatype", "raw", "shape", "tolerance"),
    [
        ("FP16", ROWS.astype("<f2"), [2, 3, DIM], 1e-3),
        ("FP32", ROWS, [2, 3, DIM], 0),
    ],
)
def test_a_batch_has_three_dimensions(datatype, raw, shape, tolerance):
    content = message(
        inputs=tensor(datatype=datatype, shape=shape), raw_input_contents=[raw.tobytes()]
    )
    np.testing.assert_allclose(read(content).contexts, ROWS.reshape(shape), atol=tolerance)


def test_typed_contents_are_the_rows():
    inputs = tensor(contents={"fp32_contents": ROWS.ravel().tolist()})
    found = read(message(inputs=inputs, raw_input_contents=[]))
    np.testing.assert_array_equal(found.contexts, ROWS[None])


def test_parameters_choose_sequence_key_and_timeout():
    parameters = {
        "sequence_id": {"int64_param": 9},
        "sequence_start": {"bool_param": True},
        "routing_key": {"string_param": "k"},
        "timeout": {"int64_param": 250_000},
        "priority": {"uint64_param": 1},
    }
    found = read(message(parameters=parameters))
    assert (found.sequence.id, found.sequence.start, found.sequence.end) == ("9", True, False)
    assert (found.routing_key, found.timeout_seconds) == ("k", 0.25)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"inputs": []}, Malformed, "0 tensors"),
        ({"inputs": tensor() * 2}, Malformed, "2 tensors"),
        ({"inputs": tensor(name="x")}, Malformed, "'x' is unknown"),
        ({"inputs": tensor(datatype="INT8")}, Malformed, "must be FP32 or FP16"),
        ({"inputs": tensor(shape=[5, DIM])}, Malformed, "does not match"),
        ({"inputs": tensor(shape=[-6, -DIM])}, Malformed, "not a list of sizes"),
        ({"inputs": tensor(shape=[6, 4, 2])}, Invalid, "not .n, 8."),
        ({"raw_input_contents": [b"x" * 3]}, Malformed, "not FP32 values"),
        ({"raw_input_contents": [ROWS.tobytes()] * 2}, Malformed, "send its data once"),
        ({"inputs": tensor(contents={"fp32_contents": [1.0]})}, Malformed, "send its data once"),
        ({"raw_input_contents": []}, Malformed, "does not match 0 values"),
        (
            {"inputs": tensor(shape=[0, DIM]), "raw_input_contents": []},
            Invalid,
            "there are no vectors",
        ),
        (
            {"inputs": tensor(parameters={"shared_memory_region": {"string_param": "r"}})},
            Malformed,
            "shared memory",
        ),
        ({"outputs": [{"name": "x"}]}, Malformed, "'x' is unknown"),
        (
            {"outputs": [{"name": "next_vector", "parameters": {"classification": {}}}]},
            Malformed,
            "classification",
        ),
        ({"parameters": {"sequence_end": {"bool_param": True}}}, Malformed, "sequence_id"),
        ({"parameters": {"timeout": {"string_param": "1"}}}, Malformed, "microseconds"),
        ({"parameters": {"routing-key": {"string_param": "k"}}}, Invalid, "routing_key"),
    ],
)
def test_what_the_protocol_does_not_allow_is_refused(changes, error, text):
    with pytest.raises(error, match=text):
        read(message(**changes))


def test_too_many_vectors_are_refused():
    with pytest.raises(Invalid, match="6 vectors are more than the 5 allowed"):
        read(message(), most=5)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    with pytest.raises((Malformed, Invalid)):
        read(content)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_damaged_message_is_read_or_refused(at, junk):
    content = bytearray(message(parameters={"sequence_id": {"string_param": "s"}}))
    at %= len(content)
    content[at : at + len(junk)] = junk
    with suppress(Malformed, Invalid):
        assert read(bytes(content)).contexts.shape[-1] == DIM


def test_a_response_has_raw_float32():
    made = render("m", "v2", "id", [ROWS[0], ROWS[1]])
    found = ModelInferResponse.FromString(made.SerializeToString())
    assert (found.model_name, found.model_version, found.id) == ("m", "v2", "id")
    assert list(found.outputs[0].shape) == [2, DIM]
    values = np.frombuffer(found.raw_output_contents[0], "<f4").reshape(2, DIM)
    np.testing.assert_array_equal(values, ROWS[:2])
