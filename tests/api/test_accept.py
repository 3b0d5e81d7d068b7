"""The media type of a response, by the caller's `Accept`."""

from __future__ import annotations

import pytest

from service.api.accept import choose
from service.errors import NotAcceptable

JSON, OCTETS = "application/json", "application/octet-stream"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        (" , ", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (OCTETS, OCTETS),
        ("Application/Octet-Stream", OCTETS),
        (f"{OCTETS}, */*", OCTETS),
        (f"{OCTETS};q=0, */*", JSON),
        (f"{OCTETS} ; Q=0 , */*;q=0.1", JSON),
        (f"{JSON};q=0.5, {OCTETS};q=0.6", OCTETS),
        (f"{JSON}, {OCTETS}", JSON),
        (f"{JSON};q=0.2, */*;q=0.9", OCTETS),
        (f"{OCTETS};q=nonsense", OCTETS),
        (f"text/html, application/xhtml+xml, {OCTETS};q=0.9, image/*", OCTETS),
        (f"{JSON};q=7, {OCTETS}", JSON),
    ],
)
def test_the_highest_quality_wins_then_the_more_specific_range(accept, chosen):
    assert chosen == choose(accept, (JSON, OCTETS))


@pytest.mark.parametrize(
    "accept", ["text/html", "text/*", "*/*;q=0", f"{JSON};q=0, {OCTETS};q=0.0", "json", "/"]
)
def test_without_an_acceptable_type_it_is_an_error(accept):
    with pytest.raises(NotAcceptable, match="accept application/json or"):
        choose(accept, (JSON, OCTETS))
