"""The report of a run: one row per variant, as JSON and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from loadtest.generator.request_log import LATE_SECONDS, RequestLog
from loadtest.timings import percentile

RATIO_BOUND = 1.2
"""The largest canary P95 over stable P95 that the service's default guardrail allows."""

HEADINGS = (
    "variant",
    "version",
    "requests",
    "errors",
    "P50",
    "P95",
    "P99",
    "server P95",
    "responses/s",
)
"""Times are in milliseconds."""


@dataclass(frozen=True)
class VariantRow:
    """The figures of one variant. Durations are in seconds, NaN without a response.

    Latencies are of successful requests, from their due time. `server_p95` is the P95 of
    the server's own `total`. `throughput` is successful requests per second.
    """

    variant: str
    version: str
    count: int
    errors: int
    p50: float
    p95: float
    p99: float
    server_p95: float
    throughput: float

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `HEADINGS`."""
        times = (self.p50, self.p95, self.p99, self.server_p95)
        return (
            self.variant,
            self.version,
            str(self.count),
            str(self.errors),
            *(_milliseconds(time) for time in times),
            f"{self.throughput:.1f}",
        )


@dataclass(frozen=True)
class LoadTestReport:
    """A run. `seconds` is from its start to its last response.

    `ratio` is canary P95 over stable P95. `late` counts the requests that were sent more
    than 10 ms after their due time, because no caller was free or the generator was busy;
    their latency includes that wait. `faults` counts the failed requests by cause.
    """

    settings: dict[str, object]
    seconds: float
    rows: tuple[VariantRow, ...]
    count: int
    errors: int
    late: int
    ratio: float
    faults: dict[str, int]

    @property
    def succeeded(self) -> int:
        return self.count - self.errors

    def problem(self, most: float = 0.01) -> str | None:
        """Why the run failed: no response at all, or a share of errors above `most`."""
        if not self.succeeded:
            why = next(iter(self.faults), "no request was sent")
            return f"no request succeeded: {why}"
        if self.errors > most * self.count:
            worst = max(self.faults, key=lambda fault: self.faults[fault])
            return (
                f"{self.errors} of {self.count} requests failed "
                f"({self.errors / self.count:.1%}; limit {most:.0%}), mostly: {worst}"
            )
        return None


def summarise(requests: Sequence[RequestLog], settings: dict[str, object]) -> LoadTestReport:
    """Summarise `requests` in rows by variant and version, stable first.

    Requests without a response have no variant and share one row.
    """
    seconds = max((request.end for request in requests), default=0.0)
    groups: dict[tuple[str, str], list[RequestLog]] = {}
    for request in requests:
        groups.setdefault((request.variant, request.version), []).append(request)
    faults: dict[str, int] = {}
    for request in requests:
        if not request.ok:
            fault = f"{request.status or 'no response'}: {request.error}"
            faults[fault] = faults.get(fault, 0) + 1
    p95 = {
        variant: percentile([r.latency for r in requests if r.ok and r.variant == variant], 95)
        for variant in ("stable", "canary")
    }
    return LoadTestReport(
        settings=settings,
        seconds=seconds,
        rows=tuple(
            _row(*key, groups[key], seconds)
            for key in sorted(groups, key=lambda key: (-len(key[0]), key))
        ),
        count=len(requests),
        errors=sum(not request.ok for request in requests),
        late=sum(request.late > LATE_SECONDS for request in requests),
        ratio=p95["canary"] / p95["stable"],
        faults=dict(sorted(faults.items(), key=lambda item: -item[1])[:20]),
    )


def as_json(report: LoadTestReport) -> bytes:
    """Indented JSON with null for NaN."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(asdict(report), option=option)


def as_markdown(report: LoadTestReport) -> str:
    """The table, the totals, the faults and the settings."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in report.rows)]
    lines = ["# Load test", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    lines.append(
        f"{report.count} requests in {report.seconds:.1f} s, {report.errors} failed, "
        f"{report.late} were sent by this machine more than {LATE_SECONDS * 1000:.0f} ms after "
        "they were due. "
        "Latencies are in ms, from the due time of a request to its complete response."
    )
    if not math.isnan(report.ratio):
        lines.append(f"Canary P95 over stable P95: {report.ratio:.2f} (limit {RATIO_BOUND}).")
    lines += [f"- {count} × {fault}" for fault, count in report.faults.items()]
    settings = ", ".join(f"{name} {value}" for name, value in report.settings.items())
    return "\n".join([*lines, "", f"Settings: {settings}.", ""])


def write(report: LoadTestReport, directory: Path) -> None:
    """Write `report.json` and `report.md`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_bytes(as_json(report))
    (directory / "report.md").write_text(as_markdown(report))


def _row(variant: str, version: str, requests: Sequence[RequestLog], seconds: float) -> VariantRow:
    good = [request for request in requests if request.ok]
    latencies = [request.latency for request in good]
    totals = [request.total for request in good if not math.isnan(request.total)]
    return VariantRow(
        variant=variant or "none",
        version=version or "-",
        count=len(requests),
        errors=len(requests) - len(good),
        p50=percentile(latencies, 50),
        p95=percentile(latencies, 95),
        p99=percentile(latencies, 99),
        server_p95=percentile(totals, 95),
        throughput=len(good) / seconds if seconds else 0.0,
    )


def _milliseconds(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds * 1000:.1f}"
