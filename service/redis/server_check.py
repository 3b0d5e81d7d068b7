"""What a server must be like before sessions are kept on it."""

from __future__ import annotations

from collections.abc import Mapping

MIN_VERSION = 7
"""The first release of Redis with functions. Valkey names a Redis release as well."""


def parse_info(text: str) -> dict[str, str]:
    """The fields of an INFO reply."""
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, colon, value in pairs if colon}


def unusable(info: Mapping[str, str]) -> str | None:
    """Why the server that gave this INFO must not keep sessions, and what to do; None if it may."""
    version = info.get("redis_version", "")
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < MIN_VERSION:
        return (
            f"it is release {version or 'unknown'}, which has no functions: "
            f"use Redis {MIN_VERSION} or later, or Valkey"
        )
    if info.get("cluster_enabled") == "1" or info.get("redis_mode") == "cluster":
        return (
            "it is a node of a Redis Cluster, whose slots this client does not follow: use one "
            "server with replicas, and one fleet for each server"
        )
    if info.get("role", "master") != "master":
        return (
            "it is a replica, which is read-only: use the address of the primary "
            f"({info.get('master_host', 'unknown')}:{info.get('master_port', 'unknown')})"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return (
            f"its maxmemory-policy is {policy}, which drops sessions without a word: set "
            "maxmemory-policy to noeviction"
        )
    return None
