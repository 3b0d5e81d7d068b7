"""A service whose spans are kept in memory."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from service import app
from tests.api.conftest import models, start

__all__ = ["models", "start", "start_traced"]


@pytest.fixture
def start_traced(start, traces, monkeypatch):
    """Begin a service as `start` does, with the tracer of the test."""
    monkeypatch.setattr(app, "make_tracer", lambda _settings: (traces._tracer, lambda: None))

    @asynccontextmanager
    async def begin(**settings):
        async with start(**settings) as service:
            yield service

    return begin
