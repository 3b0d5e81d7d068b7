"""Settings of who may call."""

from __future__ import annotations

from pydantic import Field

from service.settings.values import FrozenModel, Token


class AdminSettings(FrozenModel):
    """Who may read and change the rollout. A role includes the roles before it, in the order
    viewer, operator, approver; a role that nobody has is disabled.
    """

    viewer_token: Token | None = Field(
        None,
        description="Bearer token of the role viewer, which may read the rollout and its history.",
        examples=["/run/secrets/viewer-token"],
    )
    operator_token: Token | None = Field(
        None,
        description="Bearer token of the role operator, which may also start, retry, pause and "
        "abort a rollout, and load and unload versions.",
        examples=["/run/secrets/operator-token"],
    )
    approver_token: Token | None = Field(
        None,
        description="Bearer token of the role approver, which may also promote, resume, undo and "
        "override the gate.",
        examples=["/run/secrets/approver-token"],
    )
