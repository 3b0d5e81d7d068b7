"""A Redis server for the tests of one process."""

from __future__ import annotations

import pytest

from tests.support.redis_server import redis_server
from tests.support.tools import require


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    """A server that nobody kills, shared by the tests of this process."""
    require("redis-server")
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server
