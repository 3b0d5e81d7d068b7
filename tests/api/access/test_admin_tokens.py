"""Static bearer tokens and their roles."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.api.access.admin_tokens import AdminTokens
from service.api.access.identity import Identity, Role
from service.settings import AdminSettings

TOKENS = AdminTokens(
    AdminSettings.model_validate(
        {
            "viewer_token": "see-see-see-see-1",
            "operator_token": "run-run-run-run-1",
            "approver_token": "agree-agree-agree",
            "tokens": [{"name": "alice", "role": "approver", "token": "alice-alice-alice"}],
        }
    )
)


@pytest.mark.parametrize(
    ("token", "identity"),
    [
        ("see-see-see-see-1", Identity("viewer", Role.VIEWER)),
        ("run-run-run-run-1", Identity("operator", Role.OPERATOR)),
        ("agree-agree-agree", Identity("approver", Role.APPROVER)),
        ("alice-alice-alice", Identity("alice", Role.APPROVER)),
        ("agree-agree-agre", None),
        ("agree-agree-agree ", None),
        ("", None),
        ("ü", None),
        ("\udce4", None),
    ],
)
def test_a_token_has_its_holder(token, identity):
    assert identity == TOKENS.find(token)


def test_a_role_without_a_token_is_disabled():
    nobody = AdminTokens(AdminSettings())
    assert nobody.find("") is None
    assert nobody.find("None") is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"viewer_token": "one-for-two-roles", "approver_token": "one-for-two-roles"},
            "viewer and approver have the same secret",
        ),
        (
            {
                "viewer_token": "one-for-two-roles",
                "tokens": [{"name": "alice", "role": "approver", "token": "one-for-two-roles"}],
            },
            "viewer and alice have the same secret",
        ),
        (
            {
                "tokens": [
                    {"name": "alice", "role": "viewer", "token": "alice-alice-alice"},
                    {"name": "alice", "role": "approver", "token": "alice-alice-other"},
                ]
            },
            "alice is given twice",
        ),
        (
            {"tokens": [{"name": "approver", "role": "viewer", "token": "alice-alice-alice"}]},
            "belongs to the role approver",
        ),
        ({"tokens": [{"name": "a", "role": "admin", "token": "alice-alice-alice"}]}, "'viewer'"),
        ({"tokens": [{"name": "a", "role": "viewer", "token": "short"}]}, "16 to 4096"),
        ({"tokens": [{"name": "a b", "role": "viewer", "token": "alice-alice-alice"}]}, "pattern"),
    ],
)
def test_ambiguous_tokens_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        AdminSettings.model_validate(wrong)
