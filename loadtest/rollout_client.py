"""The rollout as it is seen from outside: samples of `GET /admin/v1/rollout`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import orjson

from loadtest.generator.http_client import ClientError, HttpClient, HttpResponse

_ROUTE = "/admin/v1/rollout"


class AdminError(Exception):
    """An admin route refused or did not answer; says what it said."""


@dataclass(frozen=True)
class RolloutSample:
    """The rollout's status at one moment; `at` in seconds from the run's beginning.

    `weight` is the canary's share in per cent. The rest is the latency
    guardrail's: `fail` and `good` are ln E against and for the canary, a verdict
    falling at `bound`; None before its first look.
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
    """A sample from the status document of the admin API. Raises `AdminError`."""
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
        raise AdminError(
            f"the rollout's status has another form than expected: {error!r}"
        ) from error


class RolloutClient:
    """The admin routes, with a bearer token. Every method raises `AdminError`."""

    def __init__(self, client: HttpClient, token: str, now: Callable[[], float]) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}
        self._now = now

    async def status(self) -> RolloutSample:
        """The rollout now."""
        return self._sample(await self._request("GET", _ROUTE))

    async def start(self, canary: str, plan: Mapping[str, Any]) -> RolloutSample:
        """Begin a rollout."""
        body = orjson.dumps({"canary": canary, "plan": plan})
        return self._sample(await self._request("POST", _ROUTE, body=body))

    async def promote(self, generation: int) -> RolloutSample:
        """Approve, unless the rollout has moved on from `generation`."""
        headers = {"If-Match": f'"{generation}"'}
        return self._sample(await self._request("POST", f"{_ROUTE}/promote", headers))

    async def abort(self) -> RolloutSample:
        """Take the canary's share back."""
        return self._sample(await self._request("POST", f"{_ROUTE}/abort"))

    def _sample(self, response: HttpResponse) -> RolloutSample:
        return parse_sample(cast("dict[str, Any]", response.json()), self._now())

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> HttpResponse:
        content = {"Content-Type": "application/json"} if body else {}
        try:
            response = await self._client.request(
                method, path, {**self._headers, **content, **(headers or {})}, body
            )
        except ClientError as error:
            raise AdminError(f"{method} {path}: {error}") from error
        if response.status >= 400:
            said = response.body[:500].decode("utf-8", "replace")
            raise AdminError(f"{method} {path}: status {response.status}: {said}")
        return response


async def watch_rollout(admin: RolloutClient, every: float, samples: list[RolloutSample]) -> None:
    """Append a sample each `every` seconds until cancelled; a status that fails is skipped."""
    while True:
        # A gap in the plot; what the server did to requests is counted with them.
        with suppress(AdminError, ClientError):
            samples.append(await admin.status())
        await asyncio.sleep(every)
