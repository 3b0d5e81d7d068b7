"""Request headers that every prediction route reads."""

from __future__ import annotations

import pytest

from service.api.request_headers import caller_digest, variant_override
from service.errors import Invalid
from service.types import Variant


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-variant": "stable"}, Variant.STABLE),
        ({"x-variant": "canary"}, Variant.CANARY),
    ],
)
def test_the_override_is_the_named_variant(headers, expected):
    assert expected is variant_override(headers)


@pytest.mark.parametrize("name", ["", "Canary", "phase-3"])
def test_an_unknown_variant_is_refused(name):
    with pytest.raises(Invalid, match="use stable or canary"):
        variant_override({"x-variant": name})


def test_callers_share_a_digest_only_with_the_same_credentials():
    """Cached contexts must not be shared between callers."""
    callers = [
        {},
        {"authorization": "Bearer a"},
        {"authorization": "Bearer b"},
        {"x-api-key": "Bearer a"},
        {"authorization": "Bearer a", "x-api-key": "b"},
    ]
    assert len(callers) == len({caller_digest(None, headers) for headers in callers})
    with_more = {"authorization": "Bearer a", "accept": "x"}
    assert caller_digest(None, with_more) == caller_digest(None, callers[1])
