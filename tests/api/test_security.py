"""Bearer tokens and their roles."""

from __future__ import annotations

import pytest

from service.api.security import Role, role_of
from service.settings import AdminSettings

ADMIN = AdminSettings(viewer_token="see", operator_token="run", approver_token="agree")


@pytest.mark.parametrize(
    ("token", "role"),
    [
        ("see", Role.VIEWER),
        ("run", Role.OPERATOR),
        ("agree", Role.APPROVER),
        ("agre", None),
        ("agree ", None),
        ("", None),
        ("ü", None),
    ],
)
def test_a_token_has_its_role(token, role):
    assert role is role_of(token, ADMIN)


def test_a_token_of_several_roles_has_the_highest():
    admin = AdminSettings(viewer_token="one", approver_token="one")
    assert Role.APPROVER is role_of("one", admin)


def test_a_role_without_a_token_is_disabled():
    assert role_of("", AdminSettings()) is None
    assert role_of("None", AdminSettings()) is None
