"""Names that an object has twice, found without a second parser."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.codecs import json_names
from service.errors import Invalid

TEXTS = st.sampled_from(["a", "b", "", ":", 'a":', "\\", '\\"', " : ", "é", "\n"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_an_object_with_different_names_passes(value, indent, ascii_only):
    """Whatever its texts look like, and wherever it lies."""
    content = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    json_names.check_once(content, orjson.loads(content))


@given(VALUES, TEXTS, VALUES, VALUES)
def test_a_name_that_is_given_twice_is_found(outer, name, first, second):
    pair = ", ".join(f"{json.dumps(name)} : {json.dumps(value)}" for value in (first, second))
    content = f'{{"outer": {json.dumps(outer)}, "list": [1, {{{pair}}}]}}'.encode()
    with pytest.raises(Invalid, match="is given twice") as raised:
        json_names.check_once(content, orjson.loads(content))
    assert "conflicting_parameter" == raised.value.code


def test_nesting_has_no_limit_of_its_own():
    content = b'{"a":' * 1000 + b"1" + b"}" * 1000
    json_names.check_once(content, orjson.loads(content))


def test_a_view_of_bytes_is_read_as_well():
    content = memoryview(b'{"a": 1, "a": 2}rest')[:16]
    with pytest.raises(Invalid, match="'a' is given twice"):
        json_names.check_once(content, {"a": 2})
