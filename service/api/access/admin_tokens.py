"""Static bearer tokens of the admin routes."""

from __future__ import annotations

import hashlib

from service.api.access.identity import Identity, Role
from service.settings import AdminSettings


class AdminTokens:
    """The configured tokens. They are kept as digests only."""

    def __init__(self, settings: AdminSettings) -> None:
        held = [
            (role.label, role, getattr(settings, f"{role.label}_token"))
            for role in Role
            if getattr(settings, f"{role.label}_token") is not None
        ]
        held += [(each.name, Role[each.role.upper()], each.token) for each in settings.tokens]
        self._identities = {
            _digest(token.get_secret_value()): Identity(name, role) for name, role, token in held
        }

    @property
    def names(self) -> frozenset[str]:
        """The names of all holders, and of the roles."""
        roles = {role.label for role in Role}
        return frozenset(roles | {each.name for each in self._identities.values()})

    def admit(self, token: str, identity: Identity) -> None:
        """Accept `token` as well, until the process ends."""
        self._identities[_digest(token)] = identity

    def find(self, token: str) -> Identity | None:
        """Return the token's holder, or None.

        A digest is looked up, not the token: how long that takes depends on the digest, from
        which nobody can guess a token letter by letter.
        """
        return self._identities.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
