"""Which servers may keep sessions."""

from __future__ import annotations

import pytest

from service.redis.server_check import parse_info, unusable

GOOD = {
    "redis_version": "7.0.15",
    "cluster_enabled": "0",
    "role": "master",
    "maxmemory_policy": "noeviction",
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"redis_version": "7.2.4", "valkey_version": "9.0.0"}, None),
        ({"redis_version": "6.2.14"}, "6.2.14"),
        ({"redis_version": "what"}, "what"),
        ({"redis_version": None}, "unknown"),
        ({"role": "slave", "master_host": "10.0.0.1", "master_port": "6380"}, "10.0.0.1:6380"),
        ({"maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
        ({"maxmemory_policy": "volatile-ttl"}, "volatile-ttl"),
        ({"cluster_enabled": "1"}, "Cluster"),
        ({"redis_mode": "cluster"}, "Cluster"),
    ],
)
def test_a_server_that_would_lose_sessions_is_refused_by_what_is_wrong(changes, said):
    info = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    found = unusable(info)
    assert (found is None) == (said is None)
    assert said is None or said in found


def test_the_fields_of_a_reply_are_read():
    text = "# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n"
    assert parse_info(text) == {"redis_version": "7.0.15", "maxmemory_policy": "noeviction"}
