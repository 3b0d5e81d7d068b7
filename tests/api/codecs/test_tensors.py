"""The codec of `/v2`: valid messages round-trip, contradictory ones are refused."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from service.api.codecs.tensors import (
    InferRequest,
    SequenceStep,
    json_length,
    parse,
    render,
)
from service.api.errors import status_of
from service.errors import Invalid, Malformed, NextvecError
from tests.support.fakes import DIM, unit_vectors

CONTEXT = unit_vectors(3)
MOST = 2000


def tensor(vectors=CONTEXT, **changes):
    """The input as JSON. A change to None removes the key."""
    fields = {
        "name": "vectors",
        "shape": list(vectors.shape),
        "datatype": "FP32",
        "data": vectors.tolist(),
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not None}


def json_request(vectors=CONTEXT, *, request=None, **changes):
    return orjson.dumps({"inputs": [tensor(vectors, **changes)], **(request or {})})


def binary_request(raw, *, request=None, size=None, **changes):
    """The length of the JSON, and the JSON followed by `raw`."""
    announced = {"binary_data_size": len(raw) if size is None else size}
    changes = {"data": None, "parameters": announced, **changes}
    header = json_request(request=request, **changes)
    return len(header), header + raw


def parse_json(**arguments):
    content = json_request(**arguments)
    return parse(content, len(content), DIM, MOST)


finite = st_numpy.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.just(DIM)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@pytest.mark.slow
@given(finite, st.booleans(), st.booleans(), st.text(max_size=10))
def test_json_tensors_round_trip(contexts, nested, batched, request_id):
    """Nested or flat, with or without a batch dimension."""
    if not batched:
        contexts = contexts[:1]
    shape = contexts.shape if batched else contexts.shape[1:]
    data = contexts.reshape(shape) if nested else contexts.ravel()
    got = parse_json(shape=list(shape), data=data.tolist(), request={"id": request_id})
    np.testing.assert_array_equal(contexts, got.contexts)
    assert request_id == got.id


@given(finite, st.integers(0, 7))
def test_binary_tensors_round_trip(contexts, padding):
    """The JSON may have any length: tensors need no alignment."""
    length, content = binary_request(
        contexts.astype("<f4").tobytes(), shape=list(contexts.shape), request={"x": "y" * padding}
    )
    got = parse(content, length, DIM, MOST).contexts
    np.testing.assert_array_equal(contexts, got)
    assert got.flags.aligned


def test_half_precision_is_widened():
    half = CONTEXT.astype("<f2")
    length, content = binary_request(half.tobytes(), datatype="FP16")
    got = parse(content, length, DIM, MOST).contexts
    np.testing.assert_array_equal(half.astype(np.float32)[None], got)
    assert got.dtype == np.float32


def test_a_raw_body_is_the_one_input_and_is_answered_in_kind():
    got = parse(CONTEXT.astype("<f4").tobytes(), 0, DIM, MOST)
    np.testing.assert_array_equal(CONTEXT[None], got.contexts)
    assert got.binary_output


@pytest.mark.slow
@given(finite.map(lambda contexts: contexts[:, 0]), st.booleans(), st.none() | st.text(max_size=9))
def test_a_response_describes_its_content(vectors, binary, request_id):
    """Read by the rules of the protocol, it contains the vectors."""
    body, length = render("m", "v", request_id, list(vectors), binary=binary)
    content = orjson.loads(body[:length])
    (output,) = content["outputs"]
    if binary:
        assert output["parameters"]["binary_data_size"] == len(body) - length
        values = np.frombuffer(body[length:], "<f4")
    else:
        assert length is None
        values = np.array(output["data"], np.float32)
    np.testing.assert_array_equal(vectors, values.reshape(output["shape"]))
    assert ("next_vector", "FP32") == (output["name"], output["datatype"])
    assert ("m", "v", request_id) == (
        content["model_name"],
        content["model_version"],
        content.get("id"),
    )


@pytest.mark.parametrize(
    ("parameters", "outputs", "expected"),
    [
        ({}, None, False),
        ({"binary_data_output": True}, None, True),
        ({"binary_data_output": True}, [], True),
        ({"binary_data_output": True}, [{}], True),
        ({"binary_data_output": True}, [{"binary_data": False}], False),
        ({}, [{"binary_data": True}], True),
        ({}, [{"binary_data": False}], False),
        ({}, [{"classification": 0}], False),
    ],
)
def test_the_form_of_an_output_overrides_that_of_the_request(parameters, outputs, expected):
    """As the binary tensor extension specifies."""
    request = {"parameters": parameters}
    if outputs is not None:
        request["outputs"] = [{"name": "next_vector", "parameters": wanted} for wanted in outputs]
    assert expected == parse_json(request=request).binary_output


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, None),
        ({"sequence_id": 0}, None),
        ({"sequence_id": "", "sequence_start": False}, None),
        ({"sequence_id": None}, None),
        ({"sequence_id": 7}, SequenceStep("7", start=False, end=False)),
        ({"sequence_id": 2**64 - 1}, SequenceStep(str(2**64 - 1), start=False, end=False)),
        (
            {"sequence_id": "a.b:c", "sequence_start": True, "sequence_end": True},
            SequenceStep("a.b:c", start=True, end=True),
        ),
    ],
)
def test_a_sequence_is_named_by_number_or_text(parameters, expected):
    """0 and the empty text mean no sequence."""
    assert expected == parse_json(request={"parameters": parameters}).sequence


@pytest.mark.parametrize(("given_", "expected"), [(None, None), (0, None), (1_500, 0.0015)])
def test_a_timeout_is_in_microseconds(given_, expected):
    request = {"parameters": {"timeout": given_}}
    assert expected == parse_json(request=request).timeout_seconds


def test_unknown_keys_are_ignored():
    """kserve sends the name of the model. `priority` has no effect."""
    got = parse_json(
        request={"model_name": "m", "parameters": {"priority": 3, "routing_key": "k", "x": [1]}}
    )
    assert isinstance(got, InferRequest)
    assert got.routing_key == "k"


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": "x"}, Malformed, "'x' is unknown"),
        ({"name": None}, Malformed, "is unknown"),
        ({"datatype": "FP64"}, Malformed, "FP64"),
        ({"datatype": "FP16"}, Malformed, "JSON data must be FP32"),
        ({"datatype": ["FP32"]}, Malformed, "a list"),
        ({"datatype": "F" * 1000}, Malformed, "F…"),
        ({"shape": None}, Malformed, "list of sizes"),
        ({"shape": "3,4"}, Malformed, "list of sizes"),
        ({"shape": [3, 4.0]}, Malformed, "list of sizes"),
        ({"shape": [-3, -4]}, Malformed, "list of sizes"),
        ({"shape": [True, 12]}, Malformed, "list of sizes"),
        ({"shape": [1] * 40 + [3, DIM]}, Malformed, "list of sizes"),
        ({"shape": [4, DIM]}, Malformed, "does not match 12 values"),
        ({"shape": [2**63, 2**63, DIM]}, Malformed, "does not match 12 values"),
        ({"shape": [12]}, Invalid, "not \\[n, 4\\]"),
        ({"shape": [4, 3]}, Invalid, "not \\[n, 4\\]"),
        ({"shape": [1, 1, 3, DIM]}, Invalid, "not \\[n, 4\\]"),
        ({"shape": [0, DIM], "data": []}, Invalid, "no vectors"),
        ({"shape": [2**40, 0, DIM], "data": []}, Invalid, "no vectors"),
        ({"data": None}, Malformed, "neither a list of data"),
        ({"data": 1}, Malformed, "neither a list of data"),
        ({"data": [[1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4, 5]]}, Malformed, "different lengths"),
        ({"data": [[1], 2]}, Malformed, "different lengths"),
        ({"data": ["1"] * 12}, Malformed, "not a number"),
        ({"data": [None] * 12}, Malformed, "not a number"),
        ({"data": [1.0] * 11 + [True]}, Malformed, "not a number"),
        ({"data": [{}] * 12}, Malformed, "not a number"),
        ({"data": [1, [2]]}, Malformed, "not a number"),
        ({"parameters": []}, Malformed, "not an object"),
        ({"parameters": {"binary_data_size": 48}}, Malformed, "both"),
        ({"parameters": {"shared_memory_region": "r"}}, Malformed, "shared memory"),
    ],
)
def test_an_input_that_breaks_the_protocol_is_refused(changes, error, said):
    """With 400; with 422 if the shape fits the data but is not a context."""
    with pytest.raises(error, match=said):
        parse_json(**changes)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"inputs": None}, "not a list of tensors"),
        ({"inputs": {}}, "not a list of tensors"),
        ({"inputs": []}, "has 0 tensors"),
        ({"inputs": [1]}, "not a list of tensors"),
        ({"inputs": [tensor(), tensor()]}, "has 2 tensors"),
        ({"outputs": "next_vector"}, "not a list of tensors"),
        ({"outputs": [{"name": "y"}]}, "'y' is unknown"),
        ({"outputs": [{"name": "next_vector"}] * 2}, "has 2 tensors"),
        ({"outputs": [{"name": "next_vector", "parameters": {"binary_data": 1}}]}, "binary_data"),
        (
            {"outputs": [{"name": "next_vector", "parameters": {"classification": 3}}]},
            "classification is not supported",
        ),
        ({"id": 3}, "id is not a string"),
        ({"parameters": 3}, "not an object"),
        ({"parameters": {"binary_data_output": "yes"}}, "binary_data_output"),
        ({"parameters": {"sequence_id": -1}}, "sequence_id"),
        ({"parameters": {"sequence_id": True}}, "sequence_id"),
        ({"parameters": {"sequence_id": 1.5}}, "sequence_id"),
        ({"parameters": {"sequence_id": 0.0}}, "sequence_id"),
        ({"parameters": {"sequence_id": [1]}}, "sequence_id"),
        ({"parameters": {"sequence_id": "a/b"}}, "sequence_id"),
        ({"parameters": {"sequence_id": "a" * 129}}, "sequence_id"),
        ({"parameters": {"sequence_start": True}}, "without a sequence_id"),
        ({"parameters": {"sequence_id": 1, "sequence_end": 1}}, "sequence_end"),
        ({"parameters": {"timeout": -1}}, "microseconds"),
        ({"parameters": {"timeout": True}}, "microseconds"),
        ({"parameters": {"timeout": 1.5}}, "microseconds"),
        ({"parameters": {"routing_key": 1}}, "routing_key"),
    ],
)
def test_a_request_that_breaks_the_protocol_is_refused(request_, said):
    with pytest.raises(Malformed, match=said):
        parse_json(request=request_)


RAW = CONTEXT.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("raw", "changes", "said"),
    [
        (RAW, {"size": len(RAW) - 4}, "binary_data_size"),
        (RAW, {"size": len(RAW) + 4}, "binary_data_size"),
        (RAW, {"size": "48"}, "binary_data_size"),
        (RAW, {"size": -1}, "binary_data_size"),
        (RAW[:1], {"size": True}, "binary_data_size"),
        (RAW[:-4], {}, "does not match 11 values"),
        (RAW[:-1], {}, "are not FP32 values"),
        (RAW, {"datatype": "FP16"}, "does not match 24 values"),
        (RAW, {"datatype": "BF16"}, "BF16"),
        (RAW, {"datatype": None}, "None"),
        (RAW, {"parameters": {}, "data": CONTEXT.tolist()}, "no input announces them"),
    ],
)
def test_a_binary_tensor_that_is_not_as_announced_is_refused(raw, changes, said):
    length, content = binary_request(raw, **changes)
    with pytest.raises(Malformed, match=said):
        parse(content, length, DIM, MOST)


@pytest.mark.parametrize("header", ["", "x", "-1", "1.5", "101", "9" * 5000, "٣", "0x10"])
def test_a_length_that_lies_is_refused(header):
    with pytest.raises(Malformed):
        json_length(header, 100)


@pytest.mark.parametrize(("header", "expected"), [(None, 100), ("0", 0), ("100", 100), (" 7 ", 7)])
def test_without_its_header_the_body_is_all_json(header, expected):
    assert expected == json_length(header, 100)


@pytest.mark.parametrize("cut", [1, 3, 30])
def test_a_length_that_cuts_the_json_is_refused(cut):
    length, content = binary_request(RAW)
    with pytest.raises(Malformed):
        parse(content, length - cut, DIM, MOST)


def test_a_raw_body_that_is_no_rows_is_refused():
    with pytest.raises(Malformed, match="rows"):
        parse(b"x" * (4 * DIM + 1), 0, DIM, MOST)
    with pytest.raises(Invalid, match="no vectors"):
        parse(b"", 0, DIM, MOST)


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["vectors", "next_vector", "FP32", "FP16", "", "a"])
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner)
)
near_requests = st.fixed_dictionaries(
    {},
    optional={
        "id": anything,
        "parameters": anything
        | st.dictionaries(
            st.sampled_from(
                ["sequence_id", "sequence_start", "timeout", "binary_data_output", "routing_key"]
            ),
            anything,
        ),
        "inputs": st.lists(
            st.fixed_dictionaries(
                {"name": st.just("vectors")},
                optional={
                    "shape": st.lists(st.integers(0, 2**64 - 1) | st.just(DIM), max_size=3),
                    "datatype": leaves,
                    "data": st.lists(st.floats(-1, 1), max_size=8) | anything,
                    "parameters": anything,
                },
            ),
            max_size=2,
        ),
        "outputs": anything,
    },
)


@given(
    st.binary(max_size=100) | near_requests.map(lambda r: json.dumps(r).encode()),
    st.binary(max_size=40),
    st.none() | st.integers(-5, 200),
)
def test_arbitrary_bytes_never_cause_a_server_error(content, rest, header):
    """They are a request or an error below 500."""
    body = content + rest
    try:
        length = json_length(None if header is None else str(header), len(body))
        got = parse(body, length, DIM, MOST)
    except NextvecError as refused:
        status = status_of(refused)
    else:
        status = 200
        assert (3, DIM, np.float32) == (
            got.contexts.ndim,
            got.contexts.shape[2],
            got.contexts.dtype,
        )
    assert status < 500


def test_deep_nesting_is_refused_at_little_cost():
    content = b'{"inputs": ' + b"[" * 1_500
    with pytest.raises(Malformed):
        parse(content, len(content), DIM, MOST)
    deep = b"[" * 1000 + b"]" * 1000
    for key in (b"name", b"shape", b"datatype", b"data"):
        content = json_request().replace(b'"%b":' % key, b'"%b":%b,"-":' % (key, deep))
        with pytest.raises(Malformed):
            parse(content, len(content), DIM, MOST)


def test_one_long_text_among_numbers_does_not_swell_the_array():
    """NumPy would reserve space for the longest text in each element."""
    with pytest.raises(Malformed, match="not a number"):
        parse_json(data=["x" * 1_000_000] + [1.0] * 7_000, shape=[7_001])
