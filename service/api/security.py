"""What the admin routes require: a role, and JSON where they read a body."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from service.api.access.api_keys import KeyHolder
from service.api.access.identity import Identity, Role
from service.api.services import services
from service.errors import Cancelled, Forbidden, Invalid, UnsupportedMediaType, quoted


async def authorize(request: Request, needed: Role) -> Identity:
    """Return who calls.

    Raises what `Authenticator.identify` raises, and `Forbidden` for a role below `needed`.
    """
    found = await services(request).authenticator.identify(request)
    if found.role < needed:
        raise Forbidden(f"this requires the role {needed.label}, not {found.role.label}")
    return found


def requires(needed: Role) -> Callable[[Request], Awaitable[Identity]]:
    """Return a dependency that admits `needed` and higher roles and returns who calls.

    It raises what `authorize` raises.
    """

    async def check(request: Request) -> Identity:
        return await authorize(request, needed)

    _NEEDED[check] = needed
    return check


_NEEDED: dict[object, Role] = {}
"""The role that each dependency of `requires` needs."""


class AuthorizedRoute(APIRoute):
    """A route that checks the caller's role before it reads the body.

    The framework reads and parses a body before it solves any dependency, so that a caller
    without a token could make it parse megabytes.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the framework's handler behind the checks of role and media type."""
        handle = super().get_route_handler()
        needed = max(
            (_NEEDED[each.call] for each in self.dependant.dependencies if each.call in _NEEDED),
            default=None,
        )
        reads_json = self.body_field is not None

        async def check_and_handle(request: Request) -> Response:
            if needed is not None:
                await authorize(request, needed)
            if reads_json:
                _check_json_type(request)
                _check_repeated_fields(await _body(request))
            return await handle(request)

        return check_and_handle


def _check_json_type(request: Request) -> None:
    """Raise `UnsupportedMediaType` for a body whose type is not JSON; it may be missing."""
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType(
            f"Content-Type is {quoted(kind)}: send Content-Type: application/json"
        )


async def _body(request: Request) -> bytes:
    """Return the body, which the framework then reads again. Raises `Cancelled`."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise Cancelled("the caller disconnected") from error


def _check_repeated_fields(content: bytes) -> None:
    """Raise `Invalid` for a field that a JSON body has twice, because one would be ignored."""

    def check(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            name = next(name for name in names if names.count(name) > 1)
            raise Invalid(f"the field {quoted(name)} is given twice", "conflicting_parameter")

    # What is no JSON is reported with its place by the framework.
    with suppress(ValueError, RecursionError):
        json.loads(content, object_pairs_hook=check)


async def _key_holder(request: Request) -> KeyHolder | None:
    return await services(request).authenticator.caller(request)


ApiKey = Annotated[KeyHolder | None, Depends(_key_holder)]
"""The holder of the request's API key; None where keys are off."""

KEYED = [Depends(_key_holder)]
"""Dependencies of a route that only checks the API key."""

Viewer = Annotated[Identity, Depends(requires(Role.VIEWER))]
Operator = Annotated[Identity, Depends(requires(Role.OPERATOR))]
Approver = Annotated[Identity, Depends(requires(Role.APPROVER))]
