"""The page of a registry, in the format that the caller's headers ask for."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from service.histogram import HistogramFamily

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

RENDER_SHARE = 0.1
"""Share of the time that rendering may take: anybody may ask for the page, at any rate."""

MAX_BUDGET_SECONDS = 2.0
"""Rendering that may happen at once, after a time without scrapes."""

_OPENMETRICS_END = b"# EOF\n"

_GZIP_LEVEL = 1
"""Some 20 times smaller in a few milliseconds; the higher levels take several times as long."""


class PageFormat(NamedTuple):
    """The format of a page."""

    openmetrics: bool
    gzipped: bool

    @property
    def media_type(self) -> str:
        """The `Content-Type` of the page."""
        return OPENMETRICS if self.openmetrics else TEXT


PLAIN = PageFormat(openmetrics=False, gzipped=False)


class MetricsPage:
    """The page of one registry.

    It is rendered on the event loop, in a few milliseconds: in a thread it would wait for the
    interpreter and for the loop, which takes many times as long under overload (ADR 38). When
    rendering has taken more than `RENDER_SHARE` of the time, scrapes get the last page again.
    """

    def __init__(
        self, registry: CollectorRegistry, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._last: dict[PageFormat, bytes] = {}
        self._budget = MAX_BUDGET_SECONDS
        self._refilled = monotonic()

    def read(self, form: PageFormat) -> bytes:
        """Return the page as it is now, or the last one if there are too many calls."""
        if self._is_spent() and form in self._last:
            return self._last[form]
        began = self._monotonic()
        try:
            page = self._last[form] = self.render(form)
        finally:
            self._budget -= self._monotonic() - began
        return page

    def _is_spent(self) -> bool:
        now = self._monotonic()
        more = (now - self._refilled) * RENDER_SHARE
        self._budget = min(MAX_BUDGET_SECONDS, self._budget + more)
        self._refilled = now
        return self._budget <= 0

    def render(self, form: PageFormat) -> bytes:
        """Render the page, whatever it takes."""
        page = render_text(self._registry, openmetrics=form.openmetrics)
        return gzip.compress(page, _GZIP_LEVEL, mtime=0) if form.gzipped else page


class _Families(Collector):
    """Families that the library renders."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def render_text(registry: CollectorRegistry, *, openmetrics: bool) -> bytes:
    """Return the library's page with the histograms last, which know their own lines."""
    families = list(registry.collect())
    others = [family for family in families if not isinstance(family, HistogramFamily)]
    generate = generate_openmetrics if openmetrics else generate_latest
    end = _OPENMETRICS_END if openmetrics else b""
    histograms = "".join(
        family.text(openmetrics=openmetrics)
        for family in families
        if isinstance(family, HistogramFamily)
    )
    head: bytes = generate(_Families(others)).removesuffix(end)
    return b"%b%b%b" % (head, histograms.encode(), end)


def choose_format(accept: str, accept_encoding: str) -> PageFormat:
    """Choose by the headers `Accept` and `Accept-Encoding`; the text format by default.

    OpenMetrics is chosen if the caller names it and does not prefer `text/plain`.
    """
    types = _weights(accept)
    wanted = types.get("application/openmetrics-text", 0.0)
    plain = types.get("text/plain", 0.0)
    encodings = _weights(accept_encoding)
    zipped = encodings.get("gzip", encodings.get("x-gzip", encodings.get("*", 0.0)))
    return PageFormat(openmetrics=0 < wanted >= plain, gzipped=zipped > 0)


def _weights(header: str) -> dict[str, float]:
    """Each name of an `Accept…` header with its highest weight."""
    found: dict[str, float] = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                weight = _number(value.strip())
        if name:
            found[name] = max(weight, found.get(name, 0.0))
    return found


def _number(text: str) -> float:
    """A weight, 0..1; 0 for what is not a weight."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
