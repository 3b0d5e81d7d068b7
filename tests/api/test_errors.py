"""One table from errors to statuses."""

from __future__ import annotations

import pytest

from service import errors
from service.api.errors import STATUS, error_body, status_of


def every_error(base=errors.NextvecError):
    for kind in base.__subclasses__():
        yield kind
        yield from every_error(kind)


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_of_its_own_or_its_parents(kind):
    error = kind.__new__(kind)
    assert any(parent in STATUS for parent in kind.__mro__) or status_of(error) == 500


def test_a_detail_cannot_be_taken_for_the_errors_own_words():
    assert error_body("no", "conflict", "id", legal=["abort"]) == (
        b'{"error":"no","code":"conflict","request_id":"id","legal":["abort"]}'
    )
