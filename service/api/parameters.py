"""Query parameters, headers and fields that are misspelt, or given twice with two values.

An ignored name is worse than an error: `?dryrun=All` would make the change for real.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from service.errors import Invalid, quoted
from service.suggestions import describe_unknown, nearest_name

T = TypeVar("T")

SINGLE_HEADERS = frozenset(
    {
        b"authorization",
        b"content-type",
        b"idempotency-key",
        b"if-match",
        b"x-api-key",
        b"x-routing-key",
        b"x-variant",
    }
)
"""Headers that have one value. Two values that differ are an error."""


async def check_request(request: Request) -> None:
    """Raise `Invalid` for an unknown query parameter, or for two values that differ.

    A dependency of every route.
    """
    check_headers(request.headers.raw)
    if request.url.query:
        check_query(request.url.query, _declared_parameters(request.scope["route"]))


def check_query(query: str, known: Collection[str]) -> None:
    """Raise `Invalid` unless every parameter is `known` and has one value."""
    if not query:
        return
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise Invalid(describe_unknown("query parameter", name, known), "unknown_parameter")
        if given.setdefault(name, value) != value:
            raise Invalid(
                f"the query parameter {name!r} is given twice: {quoted(given[name])} and "
                f"{quoted(value)}",
                "conflicting_parameter",
            )


def check_headers(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise `Invalid` if a header that has one value is given with two."""
    given: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in SINGLE_HEADERS and given.setdefault(name, value) != value:
            raise Invalid(
                f"the header {name.decode('latin-1')} is given twice, with two values",
                "conflicting_parameter",
            )


def check_fields(fields: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise `Invalid` unless every field of a JSON body is `known`."""
    for name in fields:
        if name not in known:
            raise Invalid(describe_unknown("field", name, known), "unknown_parameter")


def check_near_misses(fields: Mapping[str, Any], known: Collection[str], what: str) -> None:
    """Raise `Invalid` for a name that is unknown and looks like a `known` one.

    For a protocol that lets a caller send names that the service does not know.
    """
    for name in fields:
        if name not in known and (nearest := nearest_name(name, known)) is not None:
            raise Invalid(
                f"there is no {what} {quoted(name)}; did you mean {nearest!r}?", "unknown_parameter"
            )


def agreed(name: str, first: T | None, second: T | None) -> T | None:
    """The value of a parameter that may be given in two places. Raises `Invalid` if they differ."""
    if first is not None and second is not None and first != second:
        raise Invalid(
            f"{name} is given twice: {quoted(first)} and {quoted(second)}", "conflicting_parameter"
        )
    return second if first is None else first


def _declared_parameters(route: object) -> Collection[str]:
    """The names of the query parameters of a route."""
    if not isinstance(route, APIRoute):
        return ()
    names = {
        field.alias
        for field in get_flat_params(route.dependant)
        if isinstance(field.field_info, Query)
    }
    extra = (route.openapi_extra or {}).get("parameters", ())
    return names | {each["name"] for each in extra if each["in"] == "query"}
