"""The roles, and who a caller of the admin routes is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

FailureReason = Literal["missing", "unknown", "invalid", "expired", "no_role"]
"""Why a log-in failed: no token, a token that nobody has, or a JWT that is wrong, old or
without a role. These are values of a metric's label."""


class Role(IntEnum):
    """The role of a caller. Each role includes the ones before it."""

    VIEWER = 1
    OPERATOR = 2
    APPROVER = 3

    @property
    def label(self) -> str:
        """`viewer`, `operator` or `approver`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. The audit log records `name`."""

    name: str
    role: Role

    @property
    def may_approve(self) -> bool:
        """Whether this is an approver."""
        return self.role >= Role.APPROVER


class LoginFailedError(Exception):
    """A token was not accepted. The message is for the caller and never quotes the token."""

    def __init__(self, message: str, reason: FailureReason) -> None:
        super().__init__(message)
        self.reason: FailureReason = reason
