"""The log of one request, and the server's own timing from its header."""

from __future__ import annotations

import math
from dataclasses import dataclass

LATE_SECONDS = 0.010
"""A request sent this long after its due time counts as late. Event loops wake up to a
millisecond late; more than ten milliseconds means that no caller was free."""


@dataclass(frozen=True)
class RequestLog:
    """One request. All times are in seconds.

    `intended` is its due time from the start of the run. `late` is the delay until it was
    sent. `latency` runs from the *due* time to the complete response, so the wait behind a
    stalled server counts as the server's. `status` is 0 if there was no response. `queue`,
    `inference` and `total` are the server's own figures, NaN if it sent none.
    """

    intended: float
    late: float
    latency: float
    status: int
    variant: str = ""
    version: str = ""
    queue: float = math.nan
    inference: float = math.nan
    total: float = math.nan
    error: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def end(self) -> float:
        """When the response was complete, from the start of the run."""
        return self.intended + self.latency


def server_timing(header: str) -> dict[str, float]:
    """Durations in seconds by name, from `queue;dur=1.2, total;dur=3` (milliseconds).

    Entries that do not parse are skipped: the request is logged whatever the header says.
    """
    durations = {}
    for entry in header.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            try:
                if key.strip() == "dur":
                    durations[name] = float(value.strip(' "')) / 1000
            except ValueError:
                continue
    return durations
