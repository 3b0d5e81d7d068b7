"""Bearer tokens and their roles."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from service.api.services import services
from service.errors import Forbidden, Unauthorized, UnsupportedMediaType, quoted
from service.settings import AdminSettings


class Role(IntEnum):
    """The role of a token. Each role includes the ones before it."""

    VIEWER = 1
    OPERATOR = 2
    APPROVER = 3


def role_of(token: str, admin: AdminSettings) -> Role | None:
    """Return the highest role with this token, or None."""
    found = None
    for role, secret in (
        (Role.VIEWER, admin.viewer_token),
        (Role.OPERATOR, admin.operator_token),
        (Role.APPROVER, admin.approver_token),
    ):
        # Compared in constant time, so that response times do not reveal a prefix.
        if secret is not None and hmac.compare_digest(
            token.encode(), secret.get_secret_value().encode()
        ):
            found = role
    return found


def role_of_request(request: Request, needed: Role) -> Role:
    """Return the role of the request's token.

    Raises `Unauthorized` for a missing or unknown token, and `Forbidden` for a role below
    `needed`.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip(" \t")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("send Authorization: Bearer <token>")
    role = role_of(token, services(request).settings.admin)
    if role is None:
        raise Unauthorized("this token is unknown")
    if role < needed:
        raise Forbidden(f"this requires the role {needed.name.lower()}, not {role.name.lower()}")
    return role


def requires(needed: Role) -> Callable[[Request], Awaitable[Role]]:
    """Return a dependency that admits `needed` and higher roles and returns the caller's role.

    It raises what `role_of_request` raises.
    """

    async def check(request: Request) -> Role:
        return role_of_request(request, needed)

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
                role_of_request(request, needed)
            if reads_json:
                _check_json_type(request)
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


Viewer = Annotated[Role, Depends(requires(Role.VIEWER))]
Operator = Annotated[Role, Depends(requires(Role.OPERATOR))]
Approver = Annotated[Role, Depends(requires(Role.APPROVER))]
