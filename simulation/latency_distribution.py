"""How long requests take: a distribution from two figures, or from a measurement."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import BUCKET_RATIO
from service.types import Variant

Array = NDArray[np.float64]

Z95 = 1.6448536269514722
"""The standard normal distribution's 95th percentile."""

_FAMILY = "nextvec_request_duration_seconds"
_LEAST = 1000


class LatencyError(Exception):
    """The file does not contain latencies. The text says what it should contain."""


class LatencyDistribution(Protocol):
    """A distribution of durations in seconds."""

    @property
    def name(self) -> str:
        """A description for the report."""
        ...

    def within(self, seconds: Array) -> Array:
        """The share of requests, 0..1, that take at most these times; of the same shape."""
        ...


@dataclass(frozen=True, slots=True)
class LognormalLatency:
    """`median` in seconds; `sigma` is the standard deviation of the logarithm."""

    median: float
    sigma: float

    @property
    def name(self) -> str:
        return f"lognormal, median {self.median * 1000:.3g} ms, σ {self.sigma:.3g}"

    def within(self, seconds: Array) -> Array:
        z = np.log(seconds / self.median) / (self.sigma * math.sqrt(2))
        return np.array([(1 + math.erf(x)) / 2 for x in z])


@dataclass(frozen=True, slots=True)
class EmpiricalLatency:
    """A measured distribution: `shares[i]` of the requests took at most `seconds[i]`.

    The interpolation is log-linear. Requests beyond the last time took longer.
    """

    name: str
    seconds: tuple[float, ...]
    shares: tuple[float, ...]

    def within(self, seconds: Array) -> Array:
        return np.interp(np.log(seconds), np.log(self.seconds), self.shares, left=0.0)


def load(path: Path) -> LatencyDistribution:
    """Stable's latencies from a load test's `report.json`, or from a copy of `/metrics`.

    A report has only percentiles, so the result is the lognormal through its P50 and P95.
    From `/metrics` it is the histogram of the mode with the most requests. Raises
    `LatencyError`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LatencyError(f"{path} cannot be read ({error}); {_EXPECTED}") from error
    try:
        return _report(path, text) if text.lstrip().startswith("{") else _metrics(path, text)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LatencyError(
            f"{path} is neither a report nor a copy of /metrics ({error!r}); {_EXPECTED}"
        ) from error


_EXPECTED = "pass a load test's report.json, or a copy of /metrics"


def _report(path: Path, text: str) -> LognormalLatency:
    rows = [row for row in json.loads(text)["rows"] if row["variant"] == Variant.STABLE.value]
    if not rows:
        raise LatencyError(f"{path} has no row for stable; run a load test that reaches it")
    row = max(rows, key=lambda row: int(row["count"]))
    p50, p95 = float(row["p50"]), float(row["p95"])
    if not 0 < p50 < p95 < math.inf:
        raise LatencyError(f"{path}: P50 {p50:g} s and P95 {p95:g} s are not a distribution")
    return LognormalLatency(p50, math.log(p95 / p50) / Z95)


def _metrics(path: Path, text: str) -> EmpiricalLatency:
    modes: dict[str, dict[float, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if (
                sample.name == f"{_FAMILY}_bucket"
                and labels["variant"] == Variant.STABLE.value
                # Copies of earlier releases have a series for each outcome.
                and labels.get("outcome", "ok") == "ok"
            ):
                buckets = modes.setdefault(labels["mode"], {})
                edge = float(labels["le"])
                buckets[edge] = buckets.get(edge, 0.0) + sample.value
    mode, buckets = max(
        modes.items(), key=lambda item: item[1].get(math.inf, 0.0), default=("", {})
    )
    total = buckets.get(math.inf, 0.0)
    if not total >= _LEAST:
        raise LatencyError(
            f"{path} has {total:g} stable requests in {_FAMILY}, but {_LEAST} are needed; "
            "run a longer load test before copying it"
        )
    edges = sorted(edge for edge in buckets if edge < math.inf)
    return EmpiricalLatency(
        f"{path.name}, {mode}, {total:.0f} requests",
        (edges[0] / BUCKET_RATIO, *edges),
        (0.0, *(buckets[edge] / total for edge in edges)),
    )
