"""Bodies of `/v1`: valid, invalid and too large."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.codecs.vectors import parse_binary, parse_json
from service.errors import Invalid, Malformed
from tests.support.fakes import unit_vectors


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3)))
def test_binary_rows_round_trip(rows):
    """Little-endian float32, row by row."""
    vectors = np.array(rows, "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(vectors, parse_binary(vectors.tobytes(), 3))


def test_bytes_that_are_no_rows_are_malformed():
    with pytest.raises(Malformed, match="17 bytes"):
        parse_binary(b"x" * 17, 4)


def test_json_gives_the_vectors_and_the_other_fields():
    vectors = unit_vectors(2)
    text = b'{"context": %s, "key": "a"}' % str(vectors.tolist()).encode()
    got, fields = parse_json(text, "context", 4, 9)
    np.testing.assert_allclose(vectors, got, rtol=1e-6)
    assert {"key": "a"} == dict(fields)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"", Malformed, "not JSON"),
        (b"{", Malformed, "not JSON"),
        (b'{"context": [[NaN, 1]]}', Malformed, "not JSON"),
        (b"[]", Invalid, "'context'"),
        (b"{}", Invalid, "'context'"),
        (b'{"context": 1}', Invalid, "not a list"),
        (b'{"context": [1, 2]}', Invalid, "not a list"),
        (b'{"context": [[1, 2], [1]]}', Invalid, r"context\[1\] has 1 values, not 2"),
        (b'{"context": [[1, "x"]]}', Invalid, "not a number"),
        (b'{"context": [[1, null]]}', Invalid, "not a number"),
        (b'{"context": [["1", "2"]]}', Invalid, "not a number"),
        (b'{"context": [[true, false]]}', Invalid, "not a number"),
        (b'{"context": [[1, [2]]]}', Invalid, "not a number"),
        (b'{"context": [[1, {}]]}', Invalid, "not a number"),
    ],
)
def test_json_that_means_nothing_is_refused_with_its_place(content, error, said):
    with pytest.raises(error, match=said):
        parse_json(content, "context", 2, 9)


def test_a_number_beyond_float32_becomes_an_infinity_for_the_next_check():
    got, _ = parse_json(b'{"context": [[1e300, 0]]}', "context", 2, 9)
    assert np.isinf(got[0, 0])


@pytest.mark.parametrize(
    "content", [b"[" + b"[]," * 5000 + b"0]", b"[" * 2000, b'{"context": [[%s]]}' % (b"1," * 5000)]
)
def test_json_of_too_many_values_is_refused_before_it_is_parsed(content):
    """Parsing millions of lists would block all other callers."""
    with pytest.raises(Invalid, match="more than the 9 vectors of 2"):
        parse_json(content, "context", 2, 9)
