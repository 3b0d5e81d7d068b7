"""Configurations of the stores, and where PostgreSQL keeps its data."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from loadtest.fleet import stores


def test_redis_evicts_nothing_and_its_password_is_in_a_file_of_its_owner(tmp_path):
    process = stores.redis_process(tmp_path / "redis-server", tmp_path, 6399, "secret-of-redis")
    file = tmp_path / "redis.conf"
    lines = file.read_text().splitlines()
    assert {"maxmemory-policy noeviction", "appendonly yes", "bind 127.0.0.1"} <= set(lines)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert not any("secret-of-redis" in str(part) for part in process.command)


def test_data_of_a_fleet_that_was_never_started_can_be_removed(tmp_path):
    """Twice, and its logs stay."""
    stores.remove_data(tmp_path / "none" / "fleet")
    (tmp_path / "redis").mkdir()
    (tmp_path / "envoy.log").touch()
    stores.remove_data(tmp_path)
    stores.remove_data(tmp_path)
    assert not (tmp_path / "redis").exists()
    assert (tmp_path / "envoy.log").exists()


def test_postgresqls_folder_is_always_the_same(tmp_path):
    before = stores.postgres_data(tmp_path / "fleet")
    (tmp_path / "fleet").mkdir()
    assert before == stores.postgres_data(tmp_path / "fleet")
    assert before != stores.postgres_data(tmp_path / "other")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_only_the_lock_of_a_dead_postgresql_is_removed(tmp_path):
    """A dead process keeps its number until its parent waits for it."""
    data = stores.postgres_data(tmp_path)
    data.mkdir(parents=True, exist_ok=True)
    lock = data / "postmaster.pid"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    for content, kept in (
        (f"{os.getpid()}\n{data}\n", True),
        ("", True),
        ("not a number", True),
        (f"{dead.pid}\n{data}\n", False),
    ):
        lock.write_text(content)
        stores.forget_dead_postgres(tmp_path)
        assert lock.exists() is kept
    stores.forget_dead_postgres(tmp_path)  # without a lock
    dead.wait()
    shutil.rmtree(data)


def test_prometheus_scrapes_replicas_and_envoy(tmp_path):
    targets = {"nextvec": ["127.0.0.1:1", "127.0.0.1:2"], "envoy": ["127.0.0.1:3"]}
    stores.prometheus_process(tmp_path / "prometheus", tmp_path, 9, targets, None)
    replicas, envoy = yaml.safe_load((tmp_path / "prometheus.yml").read_text())["scrape_configs"]
    assert targets["nextvec"] == replicas["static_configs"][0]["targets"]
    assert "/stats/prometheus" == envoy["metrics_path"]


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"+OK\r\n+PONG\r\n", True),
        (b"+OK\r\n-LOADING Redis is loading the dataset in memory\r\n", False),
        (b"-WRONGPASS invalid username-password pair\r\n-NOAUTH\r\n", False),
        (b"", False),
    ],
)
async def test_redis_is_ready_when_it_answers(answer, ready):
    async def answer_once(reader, writer):
        await reader.read(100)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert ready == await stores.redis_answers(port, "password")
    server.close()
    assert not await stores.redis_answers(port, "password")
    await asyncio.sleep(0)
