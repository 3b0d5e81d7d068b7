"""The two acts of the demo: traffic, plan, request rate and expected ending.

This module only decides; `loadtest.demo.run` carries the decisions out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from loadtest.generator.request_log import RequestLog
from loadtest.rollout_client import RolloutSample
from loadtest.timings import percentile

STABLE, CANARY = "phase-2", "phase-3"
WINDOWS = {STABLE: 500, CANARY: 1000}
"""The context window of each version, in vectors."""

INTERVAL_SECONDS = 1.0
"""The guardrail's evaluation interval. A single evaluation never rolls back, and a pass
takes at least five."""

# The demo keeps the service's ratio of 1.2 and shortens the waits. It also allows a larger
# error margin: a few hundred requests cannot show that the error rate is within 1 %.
_WAITS = {
    "guardrails": {"errors": {"margin": 0.05}},
    "warm_up_seconds": 4.0,
    "warm_up_requests": 5,
    "settle_seconds": 2.0,
    "baseline_samples": 100,
    "deadline_seconds": 600.0,
}


class ActEnding(StrEnum):
    """How an act can end."""

    ROLLED_BACK = "rolled back"
    PROMOTED = "promoted"


class NextAction(StrEnum):
    """What to do next with the rollout."""

    WAIT = "wait"
    PROMOTE = "promote"
    STOP = "stop"


@dataclass(frozen=True)
class Act:
    """One act. `load` is the share of a core that the traffic may use at weight 0.

    `slowest` and `fastest` bound the rate in requests per second. Below, the evidence takes
    too long; above, it does not come sooner. `seconds` limits the act. `probes` requests
    measure the latency on an idle machine.
    """

    title: str
    mode: Literal["stateless", "session"]
    arrivals: Literal["constant", "poisson"]
    callers: int
    load: float
    slowest: float
    fastest: float
    probes: int
    expected: ActEnding
    seconds: float
    alpha: float
    steps: tuple[Mapping[str, Any], ...]

    @property
    def plan(self) -> dict[str, Any]:
        """The rollout plan, for the admin API."""
        return {**_WAITS, "alpha": self.alpha, "steps": list(self.steps)}


ACTS = (
    Act(
        title="each request sends its whole context of 1000 vectors",
        mode="stateless",
        # Evenly spaced, so that a context does not wait behind another one. The wait would
        # be the same for both versions and hide their difference.
        arrivals="constant",
        callers=32,
        load=0.45,
        slowest=1.0,
        fastest=6.0,
        probes=6,
        expected=ActEnding.ROLLED_BACK,
        seconds=165.0,
        alpha=0.01,
        # A quarter is enough to show that nearly every canary request is slow. It leaves
        # stable enough requests to learn its percentile.
        steps=(
            {"weight": 25, "min_dwell_seconds": 5, "min_samples": 20},
            {"weight": 50, "min_dwell_seconds": 5, "min_samples": 20, "approval": True},
        ),
    ),
    Act(
        title="sessions of 60 vectors; each request sends one vector",
        mode="session",
        arrivals="constant",
        callers=32,
        load=0.5,
        slowest=20.0,
        fastest=300.0,
        probes=40,
        expected=ActEnding.PROMOTED,
        seconds=250.0,
        # The second attempt of a canary gets an eighth of alpha.
        alpha=0.08,
        # One step: each would need its own pass. At a half, evidence comes fastest, because the
        # smaller arm limits it, and the weights of both versions are equally often in the cache.
        steps=({"weight": 50, "min_dwell_seconds": 5, "min_samples": 100, "approval": True},),
    ),
)

SESSION_LENGTH = 60
"""Vectors in a session. It is shorter than every window, so each request is one step."""

TOTAL_SECONDS = 340.0
"""The whole demo: six minutes, minus the picture and the shutdown of the server."""

LEAST_SECONDS = 90.0
"""An act gets at least this long, even if the demo is late."""


def choose_rate(act: Act, seconds: float) -> float:
    """Requests per second, if one request on an idle machine takes `seconds`."""
    return min(act.fastest, max(act.slowest, act.load / seconds))


def reduced_rate(act: Act, requested: float, alone: float, median: float) -> float | None:
    """A lower rate than `requested` if requests queue at that rate; None if they do not.

    Requests take `alone` seconds on an idle machine and `median` at the rate `requested`. Twice
    as long means that they wait for each other or that the machine is busy. The wait would
    then dominate the comparison of the versions.
    """
    if median <= 2 * alone or requested <= act.slowest:
        return None
    return max(act.slowest, requested * 0.6)


def time_limit(act: Act, elapsed: float) -> float:
    """Seconds that an act may take if it starts `elapsed` seconds into the demo."""
    return min(act.seconds, max(LEAST_SECONDS, TOTAL_SECONDS - elapsed))


def next_action(sample: RolloutSample, generation: int) -> NextAction:
    """What to do next with the rollout that started at `generation`.

    Whoever paused it in the console may resume it there. A rollout that is paused for another
    reason but approval does not continue by itself.
    """
    if sample.generation < generation:
        return NextAction.WAIT  # a sample from before the start
    if sample.phase == "Paused":
        if sample.reason == "by_hand":
            return NextAction.WAIT
        return NextAction.PROMOTE if sample.reason == "approval" else NextAction.STOP
    return NextAction.STOP if sample.phase in {"Healthy", "RolledBack"} else NextAction.WAIT


def find_problems(act: Act, last: RolloutSample, later: Sequence[RequestLog]) -> list[str]:
    """Why the act did not end as expected; empty if it did.

    `last` is the status at the end. `later` are the requests that were due after the end.
    """
    found = []
    expected_version = STABLE if act.expected is ActEnding.ROLLED_BACK else CANARY
    if act.expected is ActEnding.ROLLED_BACK:
        if last.phase != "RolledBack" or last.reason != "guardrail_failed":
            found.append(f"the guardrail did not roll {CANARY} back: {_describe(last)}")
    elif last.phase != "Healthy" or last.stable != CANARY:
        found.append(f"{CANARY} was not promoted: {_describe(last)}")
    if last.weight != 0:
        found.append(f"the canary's weight is {last.weight:g} %, not 0")
    failed = [request for request in later if not request.ok]
    astray = [request for request in later if request.ok and request.version != expected_version]
    if not later:
        found.append("no request was due after the end of the rollout")
    if failed:
        found.append(f"{len(failed)} of {len(later)} later requests failed: {failed[0].error}")
    if astray:
        found.append(f"{len(astray)} of {len(later)} later requests went to {astray[0].version}")
    return found


def canary_share(sample: RolloutSample) -> float:
    """Per cent of new requests that go to the version `CANARY`, as canary or as stable."""
    return 100.0 if sample.stable == CANARY else sample.weight


def deciding_sample(samples: Sequence[RolloutSample]) -> RolloutSample | None:
    """The last sample with a verdict; its text has the arithmetic."""
    return next((s for s in reversed(samples) if s.outcome in {"pass", "fail"}), None)


def p95_by_version(requests: Sequence[RequestLog], begin: float, end: float) -> dict[str, float]:
    """P95 in seconds by version, of successful requests that were due in `[begin, end)`."""
    found = {
        version: percentile(
            [
                request.latency
                for request in requests
                if request.ok and request.version == version and begin <= request.intended < end
            ],
            95,
        )
        for version in (STABLE, CANARY)
    }
    return {version: value for version, value in found.items() if value == value}  # noqa: PLR0124  not NaN


def _describe(sample: RolloutSample) -> str:
    reason = f" ({sample.reason})" if sample.reason else ""
    return f"{sample.phase}{reason} at {sample.weight:g} %: {sample.verdict or sample.message}"
