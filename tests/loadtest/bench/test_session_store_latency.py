"""The measurement of a step over HTTP with a shared store of sessions."""

from __future__ import annotations

import pytest

from loadtest.bench.session_store_latency import STORES, server_settings, table_rows
from service.settings.sessions import SessionSettings


def test_a_row_compares_with_the_server_that_keeps_sessions_in_memory():
    rows = list(table_rows({"memory": [0.002] * 9, "sync": [0.003] * 9}))
    assert [
        ("memory", "2.00", "+0.0", "2.00", "+0.0"),
        ("sync", "3.00", "+50.0", "3.00", "+50.0"),
    ] == rows


@pytest.mark.parametrize("store", STORES)
def test_a_server_keeps_its_sessions_where_its_row_says(store):
    named = server_settings(store, "redis://127.0.0.1:6379")
    fields = {
        name.removeprefix("NEXTVEC_SESSIONS__").lower(): value
        for name, value in named.items()
        if name.startswith("NEXTVEC_SESSIONS__")
    }
    settings = SessionSettings.model_validate(fields)
    assert ("memory" == store) == (settings.url is None)
    assert store in {"memory", settings.durability}
