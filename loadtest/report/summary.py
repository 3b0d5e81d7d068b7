"""What a run showed: a row per variant, as JSON and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from loadtest.report.request_log import LATE_SECONDS, RequestLog, percentile

RATIO_BOUND = 1.2
"""Canary P95 over stable P95, at most: the service's default guardrail."""

HEADINGS = (
    "variant",
    "version",
    "requests",
    "errors",
    "P50",
    "P95",
    "P99",
    "server P95",
    "answers/s",
)
"""Times are in milliseconds."""


@dataclass(frozen=True)
class VariantRow:
    """One variant's figures; durations in seconds, NaN where there is no answer to measure.

    Latencies are of good answers and count from when a request was due;
    `server_p95` is the server's own `total`. `throughput` is good answers a second.
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
        """As text, under `HEADINGS`."""
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
    """A run. `seconds` is from its beginning to its last answer; `ratio` is of the P95s.

    `late` counts requests sent more than 10 ms after they were due, because no
    caller was free or the generator was busy; their wait is in their latency.
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
    def answered(self) -> int:
        return self.count - self.errors

    def problem(self, most: float = 0.01) -> str | None:
        """Why the run was not good: nothing answered, or a share of errors over `most`."""
        if not self.answered:
            why = next(iter(self.faults), "no request was sent")
            return f"nothing was answered: {why}"
        if self.errors > most * self.count:
            worst = max(self.faults, key=lambda fault: self.faults[fault])
            return (
                f"{self.errors} of {self.count} requests failed "
                f"({self.errors / self.count:.1%}, at most {most:.0%}), mostly: {worst}"
            )
        return None


def summarise(records: Sequence[RequestLog], settings: dict[str, object]) -> LoadTestReport:
    """The figures of `records`; rows by variant and version, stable first.

    A request without an answer has no variant and is in a row of its own.
    """
    seconds = max((record.end for record in records), default=0.0)
    groups: dict[tuple[str, str], list[RequestLog]] = {}
    for record in records:
        groups.setdefault((record.variant, record.version), []).append(record)
    faults: dict[str, int] = {}
    for record in records:
        if not record.ok:
            fault = f"{record.status or 'no answer'}: {record.error}"
            faults[fault] = faults.get(fault, 0) + 1
    p95 = {
        variant: percentile([r.latency for r in records if r.ok and r.variant == variant], 95)
        for variant in ("stable", "canary")
    }
    return LoadTestReport(
        settings=settings,
        seconds=seconds,
        rows=tuple(
            _row(*key, groups[key], seconds)
            for key in sorted(groups, key=lambda key: (-len(key[0]), key))
        ),
        count=len(records),
        errors=sum(not record.ok for record in records),
        late=sum(record.late > LATE_SECONDS for record in records),
        ratio=p95["canary"] / p95["stable"],
        faults=dict(sorted(faults.items(), key=lambda item: -item[1])[:20]),
    )


def as_json(report: LoadTestReport) -> bytes:
    """Indented; what is not a number is null."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(asdict(report), option=option)


def as_markdown(report: LoadTestReport) -> str:
    """The table and a line of what stands behind it."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in report.rows)]
    lines = ["# Load test", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    lines.append(
        f"{report.count} requests in {report.seconds:.1f} s, {report.errors} of them failed, "
        f"{report.late} started more than {LATE_SECONDS * 1000:.0f} ms late. "
        "Latencies are in ms and count from when a request was due."
    )
    if not math.isnan(report.ratio):
        lines.append(f"Canary P95 over stable P95: {report.ratio:.2f} (at most {RATIO_BOUND}).")
    lines += [f"- {count} × {fault}" for fault, count in report.faults.items()]
    settings = ", ".join(f"{name} {value}" for name, value in report.settings.items())
    return "\n".join([*lines, "", f"Settings: {settings}.", ""])


def write(report: LoadTestReport, directory: Path) -> None:
    """`report.json` and `report.md`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_bytes(as_json(report))
    (directory / "report.md").write_text(as_markdown(report))


def _row(variant: str, version: str, records: Sequence[RequestLog], seconds: float) -> VariantRow:
    good = [record for record in records if record.ok]
    latencies = [record.latency for record in good]
    totals = [record.total for record in good if not math.isnan(record.total)]
    return VariantRow(
        variant=variant or "none",
        version=version or "-",
        count=len(records),
        errors=len(records) - len(good),
        p50=percentile(latencies, 50),
        p95=percentile(latencies, 95),
        p99=percentile(latencies, 99),
        server_p95=percentile(totals, 95),
        throughput=len(good) / seconds if seconds else 0.0,
    )


def _milliseconds(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds * 1000:.1f}"
