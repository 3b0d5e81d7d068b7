"""Evidence from a Prometheus server that scrapes one or many of these services.

Raw counters are read and subtracted here. `increase()` would extrapolate to whole
windows, lose the first increment of a series, and answer with fractions.

What the server says is cumulative per scraped target, and targets come, go and
restart. So this source keeps what it last saw of each and adds up the increments:

- the first reading of a pair of versions, and the first of a target, only say where
  counting starts: old counts were made at other weights;
- a target of which any bucket went down has restarted: all it holds is new;
- a target that is missing for a while goes on from where it was.

Both arms of a target come from one scrape, hence over the same time. An answer that
is late, empty, partial or not made of counts is an error, never a number: the look
is then an `error`, which neither passes nor fails.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.error import HTTPError

from service.errors import NextvecError
from service.rollout.analysis.counters import (
    Counters,
    Counts,
    CountsByArm,
    KeyCounts,
    KeyCountsByArm,
)
from service.rollout.analysis.sources.registry_source import FAULTS, TIMED, Snapshot
from service.types import SHARES, Mode, Variant

METRIC = "nextvec_request_duration_seconds_bucket"
INFERENCE = "nextvec_inference_duration_seconds_bucket"
KEYS = "nextvec_online_key_share_bucket"
MAX_BYTES = 256 * 1024 * 1024
"""Some 0.6 MB a target; beyond, the answer is not ours."""

PIECE_BYTES = 65536
"""Read at a time, at most."""

_OWN = frozenset({"__name__", "variant", "version", "mode", "outcome", "le"})

Target = frozenset[tuple[str, str]]
"""The labels that name a scraped process: job, instance and what the server adds."""

Series = tuple[str, str, str, str]
"""Metric, variant, mode and outcome; "" where the metric has none."""

Reading = dict[Target, dict[Series, tuple[int, ...]]]
"""Requests by bucket, not cumulative over buckets, since the target started."""


class EvidenceError(NextvecError):
    """The server's answer is no evidence; the text says why and what to look at."""

    code = "evidence"


class PrometheusSource:
    """A server's counts, summed over targets. `matchers` are label matchers of PromQL,
    such as `job="nextvec"`, which keep the services of another fleet out."""

    def __init__(
        self,
        url: str,
        edges: Sequence[float],
        *,
        matchers: str = "",
        timeout_seconds: float = 5.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._edges = tuple(edges)
        self._matchers = matchers
        self._timeout = timeout_seconds
        self._sums = _Sums(self._edges)
        self._pair: tuple[str, str] | None = None

    @property
    def edges(self) -> tuple[float, ...]:
        return self._edges

    async def read(self, stable: str, canary: str) -> Snapshot:
        """Raises `EvidenceError`; what was counted before is then kept."""
        reading = await self._in_time(self._ask, stable, canary)
        if self._pair != (stable, canary):
            self._pair, self._sums = (stable, canary), _Sums(self._edges)
        counted = await asyncio.to_thread(self._sums.add, reading)
        return Snapshot(self._sums.origin, stable, canary, counted)

    async def read_stable(self, stable: str) -> dict[str, Counts]:
        """All that the targets have counted since they began; raises `EvidenceError`."""
        reading = await self._in_time(self._ask_stable, stable)
        sums = _Sums(self._edges)
        return await asyncio.to_thread(sums.of, reading)

    async def _in_time(self, ask: Callable[..., Reading], *versions: str) -> Reading:
        # Parsed there too: megabytes are no work for the event loop.
        asked = asyncio.to_thread(ask, *versions)
        try:
            # urllib's timeout is for each read; a server that dribbles would take any time.
            return await asyncio.wait_for(asked, 2 * self._timeout)
        except TimeoutError as error:
            raise self._too_late() from error

    def _ask_stable(self, stable: str) -> Reading:
        return parse(self._fetch(select_stable(stable, self._matchers)), self._edges)

    def _ask(self, stable: str, canary: str) -> Reading:
        reading = parse(self._fetch(select(stable, canary, self._matchers)), self._edges)
        _whole(reading, stable, canary)
        return reading

    def _fetch(self, query: str) -> bytes:
        address = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(address, timeout=self._timeout) as answer:  # noqa: S310 - the settings check the scheme
                body = self._body(answer)
        except HTTPError as error:
            with error:  # it holds the connection
                said = error.read(500).decode("utf-8", "replace")
            raise EvidenceError(
                f"Prometheus at {self._url} answered status {error.code}: {said}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise EvidenceError(
                f"Prometheus at {self._url} gave no answer in {self._timeout:g} s ({error!r}); "
                "is it up, and rollout.prometheus_url right?"
            ) from error
        return body

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        """The answer's, in pieces: a thread that nobody waits for any more must end too, or
        look by look a server that dribbles would take them all."""
        given_up, body = time.monotonic() + 2 * self._timeout, bytearray()
        while piece := answer.read1(PIECE_BYTES):
            body += piece
            if len(body) > MAX_BYTES:
                raise EvidenceError(
                    f"Prometheus at {self._url} answered more than {MAX_BYTES} bytes"
                )
            if time.monotonic() > given_up:
                raise self._too_late()
        return bytes(body)

    def _too_late(self) -> EvidenceError:
        return EvidenceError(
            f"Prometheus at {self._url} did not finish its answer in {2 * self._timeout:g} s"
        )


class _Sums:
    """Increments added up, from a first reading on."""

    def __init__(self, edges: Sequence[float]) -> None:
        # New with every sum: another one has begun at zero.
        self.origin = uuid.uuid4().hex
        self._blank = (0,) * (len(edges) + 1)
        self._last: Reading = {}
        self._sums: dict[Series, tuple[int, ...]] = {}

    def add(self, reading: Reading) -> Counters:
        """What all readings so far have added."""
        for target, now in reading.items():
            last = self._last.get(target)
            if last is not None:
                restarted = any(_fell(last[name], now[name]) for name in last.keys() & now.keys())
                for name, counts in now.items():
                    # A series that was not there on a known target has begun at zero since.
                    blank = (0,) * len(counts)
                    old = blank if restarted else last.get(name, blank)
                    new = (b - a for a, b in zip(old, counts, strict=True))
                    sums = self._sums.get(name, blank)
                    self._sums[name] = tuple(s + n for s, n in zip(sums, new, strict=True))
                self._last[target] = now if restarted else last | now
            else:
                self._last[target] = now
        return Counters(
            requests={
                mode.value: CountsByArm(
                    self._arm(Variant.STABLE, mode), self._arm(Variant.CANARY, mode)
                )
                for mode in Mode
            },
            inference={
                mode.value: CountsByArm(
                    Counts(self._sum(INFERENCE, Variant.STABLE, mode)),
                    Counts(self._sum(INFERENCE, Variant.CANARY, mode)),
                )
                for mode in Mode
            },
            keys=KeyCountsByArm(self._keys(Variant.STABLE), self._keys(Variant.CANARY)),
        )

    def of(self, reading: Reading) -> dict[str, Counts]:
        """Stable's requests in one reading as it stands, over all targets, by mode."""
        for now in reading.values():
            for name, counts in now.items():
                sums = self._sums.get(name, self._blank)
                self._sums[name] = tuple(s + n for s, n in zip(sums, counts, strict=True))
        return {mode.value: self._arm(Variant.STABLE, mode) for mode in Mode}

    def _keys(self, variant: Variant) -> KeyCounts:
        counts = self._sums.get((KEYS, variant.value, "", ""))
        return KeyCounts(counts[: len(SHARES)]) if counts else KeyCounts()

    def _arm(self, variant: Variant, mode: Mode) -> Counts:
        timed, faults = (
            [self._sum(METRIC, variant, mode, outcome) for outcome in outcomes]
            for outcomes in (TIMED, FAULTS)
        )
        return Counts(
            tuple(sum(column) for column in zip(*timed, strict=True)), sum(map(sum, faults))
        )

    def _sum(self, metric: str, variant: Variant, mode: Mode, outcome: str = "") -> tuple[int, ...]:
        return self._sums.get((metric, variant.value, mode.value, str(outcome)), self._blank)


def select(stable: str, canary: str, matchers: str) -> str:
    """The query for both arms' buckets, of requests, of inference and of keys."""
    arms = ((Variant.STABLE, stable), (Variant.CANARY, canary))
    return " or ".join(
        _selector(metric, only, variant, version, matchers)
        for metric, only in ((METRIC, _COUNTED), (INFERENCE, ""), (KEYS, ""))
        for variant, version in arms
    )


def select_stable(stable: str, matchers: str) -> str:
    """The query for the buckets of stable's requests."""
    return _selector(METRIC, _COUNTED, Variant.STABLE, stable, matchers)


_COUNTED = f',outcome=~"{"|".join(outcome.value for outcome in (*TIMED, *FAULTS))}"'


def _selector(metric: str, only: str, variant: Variant, version: str, matchers: str) -> str:
    more = f",{matchers}" if matchers else ""
    # PromQL's strings are Go's, whose escapes JSON's are among.
    return f'{metric}{{variant="{variant.value}",version={json.dumps(version)}{only}{more}}}'


def parse(answer: bytes, edges: Sequence[float]) -> Reading:
    """The counts in an instant query's answer. Raises `EvidenceError`."""
    try:
        said = json.loads(answer)
        if said["status"] != "success":
            raise EvidenceError(f"Prometheus refuses the query: {said.get('error', said)}")
        if said.get("warnings"):
            raise EvidenceError(f"Prometheus answers in part only: {said['warnings'][0]}")
        if said["data"]["resultType"] != "vector":
            raise EvidenceError(f"Prometheus answers a {said['data']['resultType']}, not a vector")
        cumulative = _by_series(said["data"]["result"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise EvidenceError(f"this is no answer of a Prometheus server: {error!r}") from error
    reading: Reading = {}
    for (target, series), buckets in cumulative.items():
        reading.setdefault(target, {})[series] = _counts(target, series, buckets, edges)
    return reading


def _by_series(result: Sequence[Any]) -> dict[tuple[Target, Series], dict[float, float]]:
    found: dict[tuple[Target, Series], dict[float, float]] = {}
    for sample in result:
        labels: Mapping[str, str] = sample["metric"]
        target = frozenset(item for item in labels.items() if item[0] not in _OWN)
        metric = labels["__name__"]
        mode = "" if metric == KEYS else labels["mode"]
        outcome = labels["outcome"] if metric == METRIC else ""
        series = (metric, labels["variant"], mode, outcome)
        buckets = found.setdefault((target, series), {})
        edge = float(labels["le"])
        if edge in buckets:
            raise EvidenceError(f"{_named(target, series)} has the bucket le={edge:g} twice")
        buckets[edge] = float(sample["value"][1])
    return found


def _counts(
    target: Target, series: Series, buckets: Mapping[float, float], edges: Sequence[float]
) -> tuple[int, ...]:
    """Differences of the cumulative buckets, if these are what the service writes."""
    wanted = [*(SHARES if series[0] == KEYS else edges), math.inf]
    there = sorted(buckets)
    if len(there) != len(wanted) or not all(
        math.isclose(a, b, rel_tol=1e-9) for a, b in zip(there, wanted, strict=True)
    ):
        raise EvidenceError(
            f"{_named(target, series)} has {len(there)} buckets that are not this service's "
            f"{len(wanted)}; do all replicas run one version, with one limits.timeout_seconds?"
        )
    values = [buckets[edge] for edge in there]
    for value in values:
        if not (math.isfinite(value) and value >= 0 and value == int(value)):
            raise EvidenceError(f"{_named(target, series)} has a bucket of {value}, not a count")
    if any(b < a for a, b in pairwise(values)):
        raise EvidenceError(f"{_named(target, series)} has buckets that fall with le")
    return tuple(int(b - a) for a, b in pairwise([0.0, *values]))


def _whole(reading: Reading, stable: str, canary: str) -> None:
    """An arm without any series is not one without requests: the service creates all at 0."""
    arms = {(metric, variant) for series in reading.values() for metric, variant, _, _ in series}
    for variant, version in ((Variant.STABLE, stable), (Variant.CANARY, canary)):
        for metric in (METRIC, INFERENCE):
            if (metric, variant.value) not in arms:
                raise EvidenceError(
                    f"Prometheus has no {metric} of {variant.value} {version}; does it scrape "
                    "the service, as often as the service looks, and do "
                    "rollout.prometheus_matchers fit?"
                )


def _fell(before: tuple[int, ...], now: tuple[int, ...]) -> bool:
    return any(b < a for a, b in zip(before, now, strict=True))


def _named(target: Target, series: Series) -> str:
    where = dict(target).get("instance", "a target without instance")
    return f"{where}: {'/'.join(series)}"
