"""A rollout that goes through its steps during a drill, and whether a decision was made twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from loadtest.fleet.drill.record import DrillRecord, WeightSample
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.rollout_client import AdminError, RolloutClient, RolloutSample

GUARDRAILS = ("latency", "inference", "errors", "ceiling", "interference", "quality")

PLAN: dict[str, Any] = {
    "steps": [
        {"weight": weight, "min_dwell_seconds": 2, "min_samples": 10} for weight in (20, 40, 70)
    ],
    "warm_up_seconds": 1,
    "warm_up_requests": 5,
    "settle_seconds": 0.5,
    "baseline_samples": 100,
    "deadline_seconds": 600,
    # A drill kills what is to be timed. The error rate must pass before each step ends, so that
    # evidence of every replica is needed.
    "guardrails": {
        **{name: {"enabled": False} for name in GUARDRAILS if name != "errors"},
        "errors": {"margin": 0.3},
    },
}
"""The plan of the drill's rollouts. Its last step needs no approval: an approver starts it."""

_SAMPLE_SECONDS = 0.25
_ACT_SECONDS = 0.5
_ANSWER_SECONDS = 5.0


class RolloutExercise:
    """Keeps a rollout going between two versions, through the load balancer."""

    def __init__(
        self, admin: RolloutClient, versions: tuple[str, str], record: DrillRecord
    ) -> None:
        self._admin = admin
        self._versions = versions
        self._record = record

    async def run(self) -> None:
        """Start, resume and start again until cancelled. An admin call may fail: it is repeated."""
        while True:
            with suppress(AdminError):
                await self._act(await self._admin.status())
            await asyncio.sleep(_ACT_SECONDS)

    async def _act(self, sample: RolloutSample) -> None:
        if sample.phase in {"Healthy", "RolledBack"}:
            first, second = self._versions
            await self._admin.start(second if sample.stable == first else first, PLAN)
            self._record.rollouts += 1
        elif sample.phase == "Paused" and "resume" in sample.legal:
            # Deaths soon after a rise in weight pause a rollout. Here they are known.
            await self._admin.resume(sample.generation)
            self._record.resumed += 1
        elif sample.phase == "Paused" and "promote" in sample.legal:
            await self._admin.promote(sample.generation)


async def watch_weights(urls: Sequence[str], token: str, record: DrillRecord) -> None:
    """Sample the canary's weight at every replica itself, until cancelled.

    The status tells it: the page of metrics may be some seconds old. A replica that hangs delays
    no sample of the others.
    """
    await asyncio.gather(*(_watch(number, url, token, record) for number, url in enumerate(urls)))


async def _watch(number: int, url: str, token: str, record: DrillRecord) -> None:
    client = HttpClient(url, _ANSWER_SECONDS)
    try:
        while True:
            weight = await _weight(client, token)
            record.weights.append(WeightSample(record.now(), number, weight))
            await asyncio.sleep(_SAMPLE_SECONDS)
    finally:
        client.close()


async def _weight(client: HttpClient, token: str) -> float | None:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        response = await client.request("GET", "/admin/v1/rollout", headers)
        status = response.json()
    except ClientError:
        return None
    if response.status != 200 or not isinstance(status, dict):
        return None
    withheld = (status.get("fleet") or {}).get("withheld")
    return 0.0 if withheld else float(status["weight"]["set_percent"])


def decisions_made_twice(history: Iterable[Mapping[str, object]]) -> list[str]:
    """Rows of an audit log, oldest first, that no single writer could have written.

    Each change starts from the phase that the last one led to, in a generation that is not
    older. Two leaders that decide on one record break that chain, or repeat a row.
    """
    found: list[str] = []
    last: Mapping[str, object] | None = None
    for row in history:
        if last is not None:
            if _identity(row) == _identity(last):
                found.append(f"generation {row['generation']}: {row['from']} → {row['to']} twice")
            elif row["from"] != last["to"] or _generation(row) < _generation(last):
                found.append(
                    f"generation {row['generation']} begins at {row['from']}, but generation "
                    f"{last['generation']} ended at {last['to']}"
                )
        last = row
    return found


def _identity(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in ("generation", "from", "to", "step", "canary"))


def _generation(row: Mapping[str, object]) -> int:
    return int(str(row["generation"]))
