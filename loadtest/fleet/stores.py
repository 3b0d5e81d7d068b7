"""Redis, PostgreSQL and Prometheus as processes of a fleet."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import yaml

from loadtest.fleet.process import FleetError, FleetProcess

USER = "nextvec"
DATABASE = "nextvec"
_HOST = "127.0.0.1"
_ANSWER_SECONDS = 2.0


def redis_process(program: Path, folder: Path, port: int, password: str) -> FleetProcess:
    """Redis, or Valkey, that keeps its data in `folder` and evicts nothing.

    Every write is in the log file before its answer, so that `kill -9` loses none; the disk has
    it within a second.
    """
    data = folder / "redis"
    data.mkdir(parents=True, exist_ok=True)
    lines = [
        f"bind {_HOST}",
        f"port {port}",
        f"dir {data.resolve()}",
        f"requirepass {password}",
        "daemonize no",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
    ]
    file = folder / "redis.conf"
    file.touch(mode=0o600)
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return FleetProcess("redis", [program, file.resolve()], folder / "redis.log")


async def redis_answers(port: int, password: str) -> bool:
    """Whether Redis has loaded its data and answers."""
    words = [b"AUTH", password.encode(), b"PING"]
    auth, ping = _resp(words[:2]), _resp(words[2:])
    return await _exchange(port, auth + ping, b"+PONG")


def postgres_process(
    programs: Mapping[str, Path], folder: Path, port: int, password: str
) -> FleetProcess:
    """PostgreSQL with its cluster in `folder`, which is made at the first start.

    It refuses to run as root: it then runs as the user `postgres`, or as `nobody`, and its
    cluster is in the system's folder for temporary files if that user cannot reach `folder`.
    Raises `FleetError`.
    """
    user = _unprivileged_user()
    data = postgres_data(folder)
    if not (data / "PG_VERSION").exists():
        _make_cluster(programs, data, password, user)
    options = {
        "listen_addresses": _HOST,
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "logging_collector": "off",
    }
    command: list[str | Path] = [programs["postgres"], "-D", data]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return FleetProcess(
        "postgres",
        command,
        folder / "postgres.log",
        user=user,
        stop_signal=signal.SIGINT,  # its fast shutdown: connections are closed, nothing is lost
    )


def postgres_data(folder: Path) -> Path:
    """Where the cluster of a fleet in `folder` is. Raises `FleetError`."""
    return _reachable(folder / "postgres", _unprivileged_user())


def forget_dead_postgres(folder: Path) -> None:
    """Remove the lock of a PostgreSQL that was killed and that nobody has waited for yet.

    Such a process is dead and still has its number, so that the next start would take it for a
    running one and refuse. The init process of some containers waits for orphans late.
    """
    lock = postgres_data(folder) / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        pid = int(lock.read_text(encoding="utf-8").split()[0])
        # The fields after the name, which may have spaces and brackets of its own.
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        if state == "Z":
            lock.unlink()


def remove_data(folder: Path) -> None:
    """Remove what the stores of a fleet in `folder` have kept; its logs stay."""
    for data in (postgres_data(folder), folder / "redis", folder / "prometheus"):
        shutil.rmtree(data, ignore_errors=True)


async def postgres_answers(port: int) -> bool:
    """Whether PostgreSQL takes connections: it asks for a password and reports no error."""
    fields = b"user\0" + USER.encode() + b"\0database\0" + DATABASE.encode() + b"\0\0"
    startup = struct.pack(">ii", 8 + len(fields), 196608) + fields
    return await _exchange(port, startup, b"R")


def prometheus_process(
    program: Path, folder: Path, port: int, targets: Mapping[str, Sequence[str]], rules: Path | None
) -> FleetProcess:
    """Prometheus that scrapes `targets`, by job; `rules` is a file of alerts."""
    config = {
        "global": {"scrape_interval": "5s", "scrape_timeout": "4s", "evaluation_interval": "5s"},
        "rule_files": [] if rules is None else [str(rules.resolve())],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
            | ({"metrics_path": "/stats/prometheus"} if job == "envoy" else {})
            for job, addresses in targets.items()
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return FleetProcess(
        "prometheus",
        [
            program,
            f"--config.file={file.resolve()}",
            f"--storage.tsdb.path={(folder / 'prometheus').resolve()}",
            f"--web.listen-address={_HOST}:{port}",
            "--enable-feature=exemplar-storage",
        ],
        folder / "prometheus.log",
    )


def _make_cluster(
    programs: Mapping[str, Path], data: Path, password: str, user: str | None
) -> None:
    """Make the cluster beside its place and move it there: a killed start leaves no half of it."""
    new = data.with_name(f"{data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    with tempfile.NamedTemporaryFile("w", prefix="nextvec-", suffix=".password") as file:
        file.write(password)
        file.flush()
        if user is not None:
            owner = pwd.getpwnam(user)
            os.chown(new, owner.pw_uid, owner.pw_gid)
            os.chown(file.name, owner.pw_uid, owner.pw_gid)
        options = [f"--username={USER}", f"--pwfile={file.name}", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--no-sync", "-D", str(new)]
        _run([programs["initdb"], *options], user)
    create = f"CREATE DATABASE {DATABASE};\n"
    _run([programs["postgres"], "--single", "-D", new, "postgres"], user, create)
    new.rename(data)


def _run(command: Sequence[str | Path], user: str | None, given: str = "") -> None:
    done = subprocess.run(  # noqa: S603  our own command, no shell
        [str(part) for part in command],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd="/",
    )
    if done.returncode:
        raise FleetError(f"{Path(command[0]).name} failed:\n{(done.stderr or done.stdout)[-2000:]}")


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise FleetError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _reachable(folder: Path, user: str | None) -> Path:
    """`folder`, or one that `user` can reach; always the same one for the same folder."""
    folder = folder.resolve()
    there = [parent for parent in folder.parents if parent.exists()]
    if user is None or all(parent.stat().st_mode & 0o001 for parent in there):
        return folder
    name = f"nextvec-postgres-{sha256(str(folder).encode()).hexdigest()[:12]}"
    return Path(tempfile.gettempdir()) / name


async def _exchange(port: int, request: bytes, wanted: bytes) -> bool:
    """Whether the answer to `request` has `wanted` in it, or begins with it if it is one byte."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(_HOST, port)
            try:
                writer.write(request)
                answer = await reader.read(512)
                while len(wanted) > 1 and answer and wanted not in answer:
                    more = await reader.read(512)
                    if not more:
                        break
                    answer += more
                    if b"-" in answer[:1] or b"\r\n-" in answer:
                        break  # an error
                return answer.startswith(wanted) if len(wanted) == 1 else wanted in answer
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _resp(words: Sequence[bytes]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)
