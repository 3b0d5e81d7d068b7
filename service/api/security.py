"""Bearer tokens and their roles."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Annotated

from fastapi import Depends, Request

from service.api.services import LiveServices
from service.errors import Forbidden, Unauthorized
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


def requires(needed: Role) -> Callable[[Request, LiveServices], Awaitable[Role]]:
    """Return a dependency that admits `needed` and higher roles and returns the caller's role.

    It raises `Unauthorized` for a missing or unknown token, and `Forbidden` for a role
    that is too low.
    """

    async def check(request: Request, services: LiveServices) -> Role:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip(" \t")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("send Authorization: Bearer <token>")
        role = role_of(token, services.settings.admin)
        if role is None:
            raise Unauthorized("this token is unknown")
        if role < needed:
            raise Forbidden(
                f"this requires the role {needed.name.lower()}, not {role.name.lower()}"
            )
        return role

    return check


Viewer = Annotated[Role, Depends(requires(Role.VIEWER))]
Operator = Annotated[Role, Depends(requires(Role.OPERATOR))]
Approver = Annotated[Role, Depends(requires(Role.APPROVER))]
