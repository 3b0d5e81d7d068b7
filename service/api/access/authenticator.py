"""Who calls: the answer for a request of the admin routes or of the prediction routes."""

from __future__ import annotations

from typing import NoReturn

from fastapi import Request

from service.api.access.admin_tokens import AdminTokens
from service.api.access.api_keys import ApiKeys, KeyHolder, key_failure
from service.api.access.failed_logins import FailedLogins, Surface
from service.api.access.identity import FailureReason, Identity, LoginFailedError, Role
from service.api.access.oidc import FetchKeys, OidcVerifier
from service.api.access.one_time_login import OneTimeLogin
from service.clock import Clock
from service.errors import Unauthorized
from service.metrics import Metrics
from service.settings import Settings

NO_ADDRESS = "unknown"
LINK_HOLDER = "link"
"""Who the audit log names for a change of somebody who came by a one-time link."""


class Authenticator:
    """Checks tokens and keys, and notes the ones that fail."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        clock: Clock,
        *,
        fetch_keys: FetchKeys | None = None,
    ) -> None:
        """Raises `NotReady` if the extra that an OpenID provider needs is not installed."""
        self._tokens = AdminTokens(settings.admin)
        self._one_time = OneTimeLogin(settings.admin.login_code)
        oidc = settings.admin.oidc
        self._oidc = (
            None
            if oidc.issuer is None
            else OidcVerifier(oidc, clock, reserved=self._tokens.names, fetch=fetch_keys)
        )
        self.api_keys = ApiKeys(settings.callers, metrics, clock)
        self._failures = FailedLogins(metrics, clock)

    async def identify(self, request: Request) -> Identity:
        """Return who calls an admin route; the result is kept for the request.

        Raises `Unauthorized` for a missing or unknown token, after a delay if the address
        has failed before; `TooManyFailures`; and `NotReady` if the identity provider is down.
        """
        state = request.scope["state"]
        if "identity" not in state:
            try:
                state["identity"] = await self._identity(_bearer(request))
            except LoginFailedError as error:
                await self._refuse(request, "admin", error)
            state["caller"] = state["identity"].name
        found: Identity = state["identity"]
        return found

    async def exchange(self, request: Request) -> tuple[str, Role]:
        """Return a token for the one-time code that `request` bears, and its role.

        Raises as `identify` does; a used code is an unknown one.
        """
        code = _bearer(request)
        token = self._one_time.exchange(code)
        if token is None:
            reason: FailureReason = "unknown" if code else "missing"
            text = "this link has been used, or belongs to an earlier start of the service"
            await self._refuse(request, "admin", LoginFailedError(text, reason))
        assert token is not None
        self._tokens.admit(token, Identity(LINK_HOLDER, Role.APPROVER))
        return token, Role.APPROVER

    async def caller(self, request: Request) -> KeyHolder | None:
        """Return the caller of a prediction route, after counting the request.

        None if keys are off. Raises `Unauthorized`, `CallerLimited` and `TooManyFailures`.
        """
        if not self.api_keys.required:
            return None
        found = self.api_keys.find(request.scope["headers"])
        if found is None:
            await self._refuse(request, "predictions", key_failure(request.headers))
        assert found is not None
        request.scope["state"]["caller"] = found.name
        await found.take_request()
        return found

    async def refuse_key(self, error: LoginFailedError, address: str, request_id: str) -> NoReturn:
        """Refuse a prediction without a valid key, after a delay if the address failed before.

        Raises `Unauthorized` or `TooManyFailures`.
        """
        await self._failures.note("predictions", error.reason, address, request_id)
        raise Unauthorized(str(error)) from error

    async def _identity(self, token: str) -> Identity:
        if not token:
            raise LoginFailedError("send Authorization: Bearer <token>", "missing")
        found = self._tokens.find(token)
        if found is not None:
            return found
        if self._oidc is None:
            raise LoginFailedError("this token is unknown", "unknown")
        return await self._oidc.identify(token)

    async def _refuse(self, request: Request, surface: Surface, error: LoginFailedError) -> None:
        address = request.client.host if request.client else NO_ADDRESS
        request_id = str(request.scope["state"]["request_id"])
        await self._failures.note(surface, error.reason, address, request_id)
        raise Unauthorized(str(error)) from error


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip(" \t") if scheme.lower() == "bearer" else ""
