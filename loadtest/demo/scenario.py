"""The demo's two acts: what is played, how fast, and whether it ended as it must.

Only decisions; `loadtest.performance` carries them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from loadtest.report.request_log import RequestLog, percentile
from loadtest.rollout_client import RolloutSample

STABLE, CANARY = "phase-2", "phase-3"
WINDOWS = {STABLE: 500, CANARY: 1000}
"""Vectors each version reads."""

INTERVAL_SECONDS = 1.0
"""Between two looks of the guardrail. One look never rolls back alone, and a pass takes
five of them at least."""

# The demo's plans keep the service's ratio of 1.2 and shorten its waits. Some hundred
# requests cannot show that a canary fails within 1 % of stable.
_WAITS = {
    "guardrails": {"errors": {"margin": 0.05}},
    "warm_up_seconds": 4.0,
    "warm_up_requests": 5,
    "settle_seconds": 2.0,
    "baseline_samples": 100,
    "deadline_seconds": 600.0,
}


class ActEnding(StrEnum):
    """How an act ends."""

    ROLLED_BACK = "rolled back"
    PROMOTED = "promoted"


class NextAction(StrEnum):
    """What to do after a look at the rollout."""

    WAIT = "wait"
    PROMOTE = "promote"
    STOP = "stop"


@dataclass(frozen=True)
class Act:
    """One act. `load` is the share of a core that the callers may ask for at weight 0.

    `slowest` and `fastest` bound the rate in requests a second: below, the
    evidence takes too long; above, nothing is gained.
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
        """As the admin API takes it."""
        return {**_WAITS, "alpha": self.alpha, "steps": list(self.steps)}


ACTS = (
    Act(
        title="every request brings its whole context of 1000 vectors",
        mode="stateless",
        # Evenly apart, so that a context does not wait behind another one: the
        # wait would be the same for both versions and hide what is compared.
        arrivals="constant",
        callers=32,
        load=0.45,
        slowest=1.0,
        fastest=6.0,
        probes=6,
        expected=ActEnding.ROLLED_BACK,
        seconds=165.0,
        alpha=0.01,
        # A quarter is enough to see that nearly every canary request is slow, and
        # leaves stable the requests from which its percentile is learnt.
        steps=(
            {"weight": 25, "min_dwell_seconds": 5, "min_samples": 20},
            {"weight": 50, "min_dwell_seconds": 5, "min_samples": 20, "approval": True},
        ),
    ),
    Act(
        title="the same callers as sessions of 60 vectors: a request brings one",
        mode="session",
        arrivals="constant",
        callers=32,
        load=0.5,
        slowest=20.0,
        fastest=150.0,
        probes=40,
        expected=ActEnding.PROMOTED,
        seconds=250.0,
        # The same canary's second attempt has an eighth of it.
        alpha=0.08,
        steps=(
            {"weight": 25, "min_dwell_seconds": 5, "min_samples": 100},
            {"weight": 50, "min_dwell_seconds": 5, "min_samples": 100, "approval": True},
        ),
    ),
)

SESSION_LENGTH = 60
"""Vectors a session; short of every window, so that each request is one step."""

TOTAL_SECONDS = 340.0
"""For all of it: six minutes, less the picture and the server's end."""

LEAST_SECONDS = 90.0
"""An act gets these even when what came before it took long."""


def choose_rate(act: Act, seconds: float) -> float:
    """Requests a second, where one request alone takes `seconds`."""
    return min(act.fastest, max(act.slowest, act.load / seconds))


def reduced_rate(act: Act, asked: float, alone: float, median: float) -> float | None:
    """A lower rate, when requests that take `alone` seconds by themselves take `median`
    at the rate `asked`; None when that is well enough.

    Twice as long means that they wait for each other, or that the machine has other
    work: then the wait would be measured in place of the version.
    """
    if median <= 2 * alone or asked <= act.slowest:
        return None
    return max(act.slowest, asked * 0.6)


def time_limit(act: Act, elapsed: float) -> float:
    """Seconds that an act may take when it begins `elapsed` seconds into the demo."""
    return min(act.seconds, max(LEAST_SECONDS, TOTAL_SECONDS - elapsed))


def next_action(sample: RolloutSample, generation: int) -> NextAction:
    """What to do next in the rollout that began with `generation`.

    A rollout that waits for anything but approval will not go on by itself.
    """
    if sample.generation < generation:
        return NextAction.WAIT  # seen before the start
    if sample.phase == "Paused":
        return NextAction.PROMOTE if sample.reason == "approval" else NextAction.STOP
    return NextAction.STOP if sample.phase in {"Healthy", "RolledBack"} else NextAction.WAIT


def find_problems(act: Act, last: RolloutSample, later: Sequence[RequestLog]) -> list[str]:
    """Why the act did not end as it must; empty when it did.

    `last` is the status at the end, `later` the requests that were due after it.
    """
    found = []
    wanted = STABLE if act.expected is ActEnding.ROLLED_BACK else CANARY
    if act.expected is ActEnding.ROLLED_BACK:
        if last.phase != "RolledBack" or last.reason != "guardrail_failed":
            found.append(f"the guardrail did not roll {CANARY} back: {_where(last)}")
    elif last.phase != "Healthy" or last.stable != CANARY:
        found.append(f"{CANARY} was not promoted: {_where(last)}")
    if last.weight != 0:
        found.append(f"the canary's weight is {last.weight:g} %, not 0")
    failed = [record for record in later if not record.ok]
    astray = [record for record in later if record.ok and record.version != wanted]
    if not later:
        found.append("no request came after the end to show where they go")
    if failed:
        found.append(f"{len(failed)} of {len(later)} later requests failed: {failed[0].error}")
    if astray:
        found.append(f"{len(astray)} of {len(later)} later requests went to {astray[0].version}")
    return found


def canary_share(sample: RolloutSample) -> float:
    """Per cent of new requests that go to `CANARY`, in whatever role."""
    return 100.0 if sample.stable == CANARY else sample.weight


def deciding_sample(samples: Sequence[RolloutSample]) -> RolloutSample | None:
    """The last look that had a verdict, whose words carry its arithmetic."""
    return next((s for s in reversed(samples) if s.outcome in {"pass", "fail"}), None)


def p95_by_version(records: Sequence[RequestLog], begin: float, end: float) -> dict[str, float]:
    """P95 in seconds by version, of answers to requests that were due in `[begin, end)`."""
    found = {
        version: percentile(
            [
                record.latency
                for record in records
                if record.ok and record.version == version and begin <= record.intended < end
            ],
            95,
        )
        for version in (STABLE, CANARY)
    }
    return {version: value for version, value in found.items() if value == value}  # noqa: PLR0124  not NaN


def _where(sample: RolloutSample) -> str:
    reason = f" ({sample.reason})" if sample.reason else ""
    return f"{sample.phase}{reason} at {sample.weight:g} %: {sample.verdict or sample.message}"
