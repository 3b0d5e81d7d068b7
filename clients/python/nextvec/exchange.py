"""What an operation asks of a transport, and when it asks again.

Operations are generators without I/O. They yield a `Call` or a `Pause`, and receive what came of
it. The two clients carry these out, one with blocking calls and one with `await`: no logic is
written twice, and a test plays the network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from nextvec import errors

ResultT = TypeVar("ResultT")

BINARY = "application/octet-stream"
JSON = "application/json"


@dataclass(frozen=True)
class Call:
    """One request. `path` begins after the service's address. `timeout` is in seconds.

    `admin` selects the credentials: the token, or the API key.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    admin: bool = False
    timeout: float = 30.0


@dataclass(frozen=True)
class Pause:
    """A wait, in seconds."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """An answer of any status. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Failure:
    """No answer. `permanent`: another attempt would fail in the same way."""

    error: errors.TransportError
    permanent: bool = False


Outcome: TypeAlias = Reply | Failure | None
"""What came of a `Call`; None after a `Pause`."""

Operation: TypeAlias = Generator[Call | Pause, Outcome, ResultT]

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which a request is worth repeating. Every operation of this package is safe to
repeat: predictions change nothing, an append has its position, a change its key."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is repeated, and after what wait. All times are in seconds.

    The waits double from `first_delay` up to `longest_delay`, shortened at random by up to a half,
    so that callers do not come back together. `Retry-After` is honoured up to
    `longest_retry_after`; after a longer one the operation fails at once.
    """

    max_retries: int = 8
    first_delay: float = 0.1
    longest_delay: float = 5.0
    longest_retry_after: float = 30.0

    def delay(self, retries: int, outcome: Outcome, left: float, drawn: float) -> float | None:
        """Return the wait before the next attempt, or None to give up.

        `retries` were made before, `left` seconds remain, and `drawn` is random in 0..1.
        """
        asked = 0.0
        if isinstance(outcome, Reply):
            if outcome.status not in RETRIED:
                return None
            asked = errors.seconds_to_wait(outcome.headers) or 0.0
        elif outcome is None or outcome.permanent:
            return None
        if retries >= self.max_retries or asked > self.longest_retry_after:
            return None
        backoff = min(self.longest_delay, self.first_delay * 2.0 ** min(retries, 32))
        wait = max(asked, backoff * (1 - drawn / 2))
        return wait if wait < left else None


@dataclass
class Budget:
    """What one operation may still spend: time until its deadline, and retries.

    `now` is a monotonic clock and `draw` a random number in 0..1. `lost` counts requests of which
    nobody knows whether the service carried them out.
    """

    policy: RetryPolicy
    timeout: float
    ends: float
    now: Callable[[], float]
    draw: Callable[[], float]
    retries: int = 0
    lost: int = 0

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.ends - self.now()

    def next_delay(self, outcome: Outcome) -> float | None:
        """Return the wait before one more attempt, and count it; None to give up."""
        delay = self.policy.delay(self.retries, outcome, self.left, self.draw())
        if delay is not None:
            self.retries += 1
        return delay


def exchange(call: Call, budget: Budget) -> Operation[Reply]:
    """Send `call` until it succeeds. Raises `StatusError` or `TransportError`."""
    attempts = 0
    while True:
        left = budget.left
        if left <= 0:
            raise errors.RequestTimeoutError(f"{_name(call)}: the deadline has passed")
        attempts += 1
        budget.lost += 1
        outcome = yield replace(call, timeout=min(budget.timeout, left))
        if isinstance(outcome, Reply) and outcome.is_success:
            budget.lost -= 1
            return outcome
        failure = _error(outcome)
        if isinstance(failure, errors.StatusError) and not failure.code.startswith("http_"):
            budget.lost -= 1  # the service itself refused: nothing was done
        delay = budget.next_delay(outcome)
        if delay is None:
            if attempts > 1:
                failure.add_note(f"{_name(call)}: gave up after {attempts} attempts")
            raise failure
        yield Pause(delay)


def _error(outcome: Outcome) -> errors.StatusError | errors.TransportError:
    if isinstance(outcome, Reply):
        return errors.of_answer(outcome.status, outcome.headers, outcome.content)
    assert outcome is not None
    return outcome.error


def _name(call: Call) -> str:
    return f"{call.method} {call.path}"
