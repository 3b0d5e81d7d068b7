"""Callers of the prediction routes and their limits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from service.api.access.identity import LoginFailedError
from service.clock import Clock
from service.contexts.session_quota import SessionQuota
from service.errors import CallerLimited
from service.metrics import Metrics
from service.settings import CallerSettings
from service.settings.access import ApiKeySettings


class TokenBucket:
    """A rate limit: `rate` units a second on average, with one second's worth at once.

    One request may take more than a second's worth: the debt is waited for by the next one.
    """

    __slots__ = ("_at", "_burst", "_level", "_now", "_rate")

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = max(rate, 1.0)
        self._level = self._burst
        self._now = now
        self._at = now()

    def take(self, amount: float) -> float:
        """Take `amount` and return 0, or take nothing and return the seconds to wait."""
        now = self._now()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        wanted = min(amount, self._burst)
        if self._level < wanted:
            return (wanted - self._level) / self._rate
        self._level -= amount
        return 0.0


class LimitedCaller(Protocol):
    """The holder of an API key, as the routes see it.

    `digest` identifies the caller to the prefix cache and to feedback; `quota` is the owner of
    its sessions.
    """

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> bytes: ...

    @property
    def quota(self) -> SessionQuota: ...

    async def take_request(self) -> None:
        """Count one request. Raises `CallerLimited`."""
        ...

    async def take_vectors(self, count: int) -> None:
        """Count the vectors of a request. Raises `CallerLimited`."""
        ...


class KeyHolder:
    """The holder of an API key, with its limits.

    `digest` identifies the caller to the prefix cache and to feedback; `quota` bounds its
    sessions, which belong to it.
    """

    __slots__ = ("_metrics", "_requests", "_vectors", "digest", "name", "quota")

    def __init__(
        self, settings: ApiKeySettings, metrics: Metrics, now: Callable[[], float]
    ) -> None:
        self.name = settings.name
        self._metrics = metrics
        metrics.expect_caller(settings.name)
        self.digest = holder_digest(settings.name)
        self.quota = SessionQuota(
            settings.name,
            settings.max_sessions,
            settings.max_session_bytes,
            on_refusal=metrics.caller_limited.labels(settings.name, "sessions").inc,
        )
        self._requests = _bucket(settings.requests_per_second, now)
        self._vectors = _bucket(settings.vectors_per_second, now)

    async def take_request(self) -> None:
        """Count one request. Raises `CallerLimited`."""
        self.take(requests=1)

    async def take_vectors(self, count: int) -> None:
        """Count the vectors of a request. Raises `CallerLimited`."""
        self.take(vectors=count)

    def take(self, requests: int = 0, vectors: int = 0) -> None:
        """Count requests and vectors. Raises `CallerLimited`."""
        if requests:
            self._take(self._requests, requests, "requests")
        if vectors:
            self._take(self._vectors, vectors, "vectors")

    def _take(self, bucket: TokenBucket | None, amount: int, what: str) -> None:
        if bucket is None:
            return
        seconds = bucket.take(amount)
        if seconds:
            self._metrics.caller_limited.labels(self.name, what).inc()
            raise CallerLimited(
                f"{self.name} has used up its {what} per second: send fewer, or ask for a "
                "higher limit",
                seconds,
            )


HolderT_co = TypeVar("HolderT_co", bound=LimitedCaller, covariant=True)


class KeyRing(Generic[HolderT_co]):
    """The holders of the configured keys. Keys are kept as digests only."""

    def __init__(
        self, settings: CallerSettings, make_holder: Callable[[ApiKeySettings], HolderT_co]
    ) -> None:
        self._holders = {
            _digest(each.key.get_secret_value().encode()): make_holder(each)
            for each in settings.keys
        }
        self.required = bool(self._holders)

    @property
    def holders(self) -> Iterable[HolderT_co]:
        """The holders of all keys."""
        return self._holders.values()

    def find(self, headers: Iterable[tuple[bytes, bytes]]) -> HolderT_co | None:
        """Return the caller of a request by its raw headers, or None for no or a wrong key.

        Two different keys are no key: which of them counts would be a guess.
        """
        found: set[bytes] = set()
        for name, value in headers:
            if name == b"x-api-key":
                found.add(value.strip())
            elif name == b"authorization":
                scheme, _, token = value.partition(b" ")
                if scheme.lower() == b"bearer":
                    found.add(token.strip())
        if len(found) != 1:
            return None
        return self._holders.get(_digest(found.pop()))


class ApiKeys(KeyRing[KeyHolder]):
    """The configured callers with their limits."""

    def __init__(self, settings: CallerSettings, metrics: Metrics, clock: Clock) -> None:
        super().__init__(settings, lambda each: KeyHolder(each, metrics, clock.monotonic))


def key_failure(headers: Mapping[str, str]) -> LoginFailedError:
    """Return the failure of a request for which `ApiKeys.find` found no caller."""
    if "x-api-key" not in headers and "authorization" not in headers:
        return LoginFailedError(
            "send an API key: Authorization: Bearer <key>, or X-API-Key: <key>", "missing"
        )
    return LoginFailedError("this API key is unknown", "unknown")


def holder_digest(name: str) -> bytes:
    """Return 16 bytes that identify the holder of a key by its name."""
    return hashlib.blake2b(b"key\0" + name.encode(), digest_size=16).digest()


def _bucket(rate: float | None, now: Callable[[], float]) -> TokenBucket | None:
    return None if rate is None else TokenBucket(rate, now)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
