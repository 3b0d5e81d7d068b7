"""The admin API as the load test uses it: start, promote, abort, and samples of the status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from service.http_clients import client_options, tls_context

_ROUTE = "/admin/v1/rollout"
_TIMEOUT_SECONDS = 30.0


class AdminError(Exception):
    """An admin route refused or did not respond. The message has the service's reason."""


@dataclass(frozen=True)
class RolloutSample:
    """The status of the rollout at one moment, `at` seconds from the start of the run.

    `weight` is the canary's share in per cent. The fields from `outcome` on belong to the
    latency guardrail: `fail` and `good` are ln E against and for the canary, and a verdict
    falls when one of them reaches `bound`. They are None before the first evaluation.
    """

    at: float
    phase: str
    reason: str
    message: str
    generation: int
    stable: str
    canary: str
    step: int | None
    weight: float
    legal: tuple[str, ...] = ()
    outcome: str = ""
    verdict: str = ""
    ratio: float | None = None
    fail: float | None = None
    good: float | None = None
    bound: float | None = None


def parse_sample(status: Mapping[str, Any], at: float) -> RolloutSample:
    """Parse the status document of the admin API. Raises `AdminError`."""
    try:
        guardrail: Mapping[str, Any] = next(iter(status["guardrails"]), {})
        evidence = guardrail.get("log_evidence") or {}
        return RolloutSample(
            at=at,
            phase=status["phase"],
            reason=status["reason"] or "",
            message=status["message"] or "",
            generation=status["generation"],
            stable=status["stable"],
            canary=status["canary"] or "",
            step=status["step"],
            weight=float(status["weight"]["set_percent"]),
            legal=tuple(status["legal"]),
            outcome=guardrail.get("outcome", ""),
            verdict=guardrail.get("message", ""),
            ratio=guardrail.get("ratio"),
            fail=evidence.get("fail"),
            good=evidence.get("pass"),
            bound=evidence.get("bound"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise AdminError(f"the rollout status has an unexpected form: {error!r}") from error


class RolloutClient:
    """The admin routes of a server. Every method but `close` raises `AdminError`."""

    def __init__(
        self,
        url: str,
        token: str,
        now: Callable[[], float],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`token` is a bearer token; `now` dates the samples."""
        self._now = now
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_SECONDS,
            transport=transport,
            **client_options(httpx.URL(url), tls_context()),
        )

    async def status(self) -> RolloutSample:
        """Read the status."""
        return await self._request("GET", _ROUTE)

    async def start(self, canary: str, plan: Mapping[str, Any]) -> RolloutSample:
        """Start a rollout of `canary`."""
        return await self._request("POST", _ROUTE, json={"canary": canary, "plan": plan})

    async def promote(self, generation: int) -> RolloutSample:
        """Approve the step, unless the rollout has moved on from `generation`."""
        headers = {"If-Match": f'"{generation}"'}
        return await self._request("POST", f"{_ROUTE}/promote", headers=headers)

    async def resume(self, generation: int) -> RolloutSample:
        """Continue after a pause, unless the rollout has moved on from `generation`."""
        headers = {"If-Match": f'"{generation}"'}
        return await self._request("POST", f"{_ROUTE}/resume", headers=headers)

    async def abort(self) -> RolloutSample:
        """Abort the rollout."""
        return await self._request("POST", f"{_ROUTE}/abort")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _request(self, method: str, path: str, **content: Any) -> RolloutSample:
        try:
            response = await self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            raise AdminError(f"{method} {path}: {str(error) or type(error).__name__}") from error
        if not response.is_success:
            raise AdminError(
                f"{method} {path}: status {response.status_code}: {response.text[:500]}"
            )
        try:
            status = response.json()
        except ValueError as error:
            raise AdminError(f"{method} {path}: the response is not JSON") from error
        return parse_sample(status, self._now())


async def watch_rollout(admin: RolloutClient, every: float, samples: list[RolloutSample]) -> None:
    """Append a sample every `every` seconds until cancelled. Failed reads are skipped."""
    while True:
        # A failed read leaves a gap in the plot. The request log shows what callers saw.
        with suppress(AdminError):
            samples.append(await admin.status())
        await asyncio.sleep(every)
