"""Bearer tokens and their roles."""

from __future__ import annotations

import pytest

from service.api.security import Role, role_of
from service.settings import AdminSettings

ADMIN = AdminSettings(
    viewer_token="see-see-see-see-1",
    operator_token="run-run-run-run-1",
    approver_token="agree-agree-agree",
)


@pytest.mark.parametrize(
    ("token", "role"),
    [
        ("see-see-see-see-1", Role.VIEWER),
        ("run-run-run-run-1", Role.OPERATOR),
        ("agree-agree-agree", Role.APPROVER),
        ("agree-agree-agre", None),
        ("agree-agree-agree ", None),
        ("", None),
        ("ü", None),
    ],
)
def test_a_token_has_its_role(token, role):
    assert role is role_of(token, ADMIN)


def test_a_token_of_several_roles_has_the_highest():
    admin = AdminSettings(viewer_token="one-for-two-roles", approver_token="one-for-two-roles")
    assert Role.APPROVER is role_of("one-for-two-roles", admin)


def test_a_role_without_a_token_is_disabled():
    assert role_of("", AdminSettings()) is None
    assert role_of("None", AdminSettings()) is None
