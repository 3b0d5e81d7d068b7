"""A whole fleet on this machine: stores, replicas, load balancer, Prometheus."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.demo.environment import SERVE
from loadtest.fleet import stores
from loadtest.fleet.balancer import envoy_config, render
from loadtest.fleet.layout import FleetPorts, FleetSecrets, lock_folder
from loadtest.fleet.process import FleetError, FleetProcess
from loadtest.fleet.programs import find_programs
from loadtest.generator.http_client import ClientError, HttpClient

NEEDED = ("envoy", "redis", "postgres", "initdb")
REPLICA_SECONDS = 120.0
"""A replica loads and warms up two versions, on cores that it shares with the others."""

_STORE_SECONDS = 60.0
_POSTGRES_TRIES = 5
_POSTGRES_PAUSE_SECONDS = 1.0
_BALANCER_SECONDS = 30.0
_HOST = "127.0.0.1"
_RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"


@dataclass(frozen=True, kw_only=True)
class FleetOptions:
    """What a fleet serves and how.

    `settings` are further `NEXTVEC_` variables of every replica.
    """

    models: Path
    stable: str
    canary: str | None
    replicas: int = 3
    durability: str = "async"
    when_store_down: str = "refuse"
    drain_seconds: float = 3.0
    prometheus: bool = True
    show_replica: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


class LocalFleet:
    """The processes of one fleet. Use `running_fleet`, which also stops them."""

    def __init__(self, folder: Path, ports: FleetPorts, options: FleetOptions) -> None:
        """Write the configurations into `folder`. Raises `FleetError` and `MissingPrograms`."""
        names = [*NEEDED, *(["prometheus"] if options.prometheus else [])]
        programs = find_programs(names)
        self.folder = folder
        self.ports = ports
        self.options = options
        self.secrets = FleetSecrets.kept_in(folder)
        self.redis = stores.redis_process(
            programs["redis"], folder, ports.redis, self.secrets.redis
        )
        self.postgres = stores.postgres_process(
            programs, folder, ports.postgres, self.secrets.postgres
        )
        self.replicas = [
            self._replica(number, port) for number, port in enumerate(ports.replicas, 1)
        ]
        self.balancer = self._balancer(programs["envoy"])
        self.prometheus: FleetProcess | None = None
        if options.prometheus:
            targets = {
                "nextvec": [f"{_HOST}:{port}" for port in ports.replicas],
                "envoy": [f"{_HOST}:{ports.balancer_admin}"],
            }
            rules = _RULES if _RULES.is_file() else None
            self.prometheus = stores.prometheus_process(
                programs["prometheus"], folder, ports.prometheus, targets, rules
            )

    @property
    def url(self) -> str:
        """Where callers send requests: the load balancer."""
        return f"http://{_HOST}:{self.ports.balancer}"

    @property
    def replica_urls(self) -> list[str]:
        """The address of each replica itself."""
        return [f"http://{_HOST}:{port}" for port in self.ports.replicas]

    @property
    def token(self) -> str:
        """The approver's token."""
        return self.secrets.approver

    @property
    def processes(self) -> list[FleetProcess]:
        """All processes, the stores last."""
        prometheus = [] if self.prometheus is None else [self.prometheus]
        return [self.balancer, *prometheus, *self.replicas, self.redis, self.postgres]

    async def start(self) -> None:
        """Start everything and wait until it serves. Raises `FleetError`."""
        self.ports.check_free()
        self.redis.start()
        await self.redis_ready()
        await self.start_postgres()
        for replica in self.replicas:
            replica.start()
        if self.prometheus is not None:
            self.prometheus.start()
        for number in range(len(self.replicas)):
            await self.replica_ready(number)
        self.balancer.start()
        await self.balancer.wait_until(lambda: _is_ready(self.url), _BALANCER_SECONDS)

    async def start_postgres(self) -> None:
        """Start PostgreSQL and wait for it. After `kill -9` it refuses while an old process of it
        is left, so that it is tried again. Raises `FleetError`."""
        for tries_left in reversed(range(_POSTGRES_TRIES)):
            stores.forget_dead_postgres(self.folder)
            self.postgres.start()
            try:
                await self.postgres_ready()
            except FleetError:
                if self.postgres.is_running or not tries_left:
                    raise
                await asyncio.sleep(_POSTGRES_PAUSE_SECONDS)
            else:
                return

    async def redis_ready(self) -> None:
        """Wait for Redis. Raises `FleetError`."""
        port, password = self.ports.redis, self.secrets.redis
        await self.redis.wait_until(lambda: stores.redis_answers(port, password), _STORE_SECONDS)

    async def postgres_ready(self) -> None:
        """Wait for PostgreSQL. Raises `FleetError`."""
        port = self.ports.postgres
        await self.postgres.wait_until(lambda: stores.postgres_answers(port), _STORE_SECONDS)

    async def replica_ready(self, number: int) -> None:
        """Wait for the replica at index `number`. Raises `FleetError`."""
        url = self.replica_urls[number]
        await self.replicas[number].wait_until(lambda: _is_ready(url), REPLICA_SECONDS)

    def stop(self) -> None:
        """Stop everything: the load balancer and the replicas drain together, then the stores."""
        first = [self.balancer, *self.replicas]
        if self.prometheus is not None:
            first.append(self.prometheus)
        for process in first:
            process.ask_to_stop()
        for process in [*first, self.redis, self.postgres]:
            process.stop()

    def check(self) -> None:
        """Raise `FleetError` if a process has ended."""
        for process in self.processes:
            process.check()

    def _replica(self, number: int, port: int) -> FleetProcess:
        options, secrets, ports = self.options, self.secrets, self.ports
        name = f"replica-{number}"
        redis = f"redis://:{secrets.redis}@{_HOST}:{ports.redis}/0"
        postgres = (
            f"postgresql://{stores.USER}:{secrets.postgres}@{_HOST}:{ports.postgres}"
            f"/{stores.DATABASE}"
        )
        environment = {
            # A nextvec.toml of the working directory is meant for another server.
            "NEXTVEC_CONFIG": "/dev/null",
            "NEXTVEC_ADMIN__APPROVER_TOKEN": secrets.approver,
            "NEXTVEC_HTTP__DRAIN_SECONDS": str(options.drain_seconds),
            "NEXTVEC_PROXY__TRUSTED": json.dumps([_HOST]),
            "NEXTVEC_FLEET__NAME": "nextvec",
            "NEXTVEC_FLEET__REPLICA": name,
            "NEXTVEC_SESSIONS__URL": redis,
            "NEXTVEC_SESSIONS__DURABILITY": options.durability,
            "NEXTVEC_SESSIONS__WHEN_STORE_DOWN": options.when_store_down,
            "NEXTVEC_ROLLOUT__URL": postgres,
            **options.settings,
        }
        command: list[str | Path] = [*SERVE, "--models", options.models.resolve()]
        command += ["--stable", options.stable, "--host", _HOST, "--port", str(port)]
        command += [] if options.canary is None else ["--canary", options.canary]
        return FleetProcess(
            name,
            command,
            self.folder / f"{name}.log",
            environment,
            stop_seconds=options.drain_seconds + 20,
        )

    def _balancer(self, program: Path) -> FleetProcess:
        config = envoy_config(
            (_HOST, self.ports.balancer),
            [(_HOST, port) for port in self.ports.replicas],
            admin=(_HOST, self.ports.balancer_admin),
            show_replica=self.options.show_replica,
        )
        file = self.folder / "envoy.yaml"
        file.write_text(render(config), encoding="utf-8")
        command: list[str | Path] = [program, "-c", file.resolve(), "--concurrency", "1"]
        command += ["--use-dynamic-base-id", "--log-level", "warning"]
        return FleetProcess("envoy", command, self.folder / "envoy.log", stop_seconds=5)


@contextmanager
def running_fleet(folder: Path, ports: FleetPorts, options: FleetOptions) -> Iterator[LocalFleet]:
    """A fleet that is yet to be started, and is stopped at the end whatever happens.

    Raises `FleetError` if another fleet runs in `folder`.
    """
    if sys.platform == "win32":
        raise FleetError("a fleet on one machine needs Linux or macOS")
    with lock_folder(folder):
        fleet = LocalFleet(folder, ports, options)
        try:
            yield fleet
        finally:
            fleet.stop()


async def _is_ready(url: str) -> bool:
    client = HttpClient(url, timeout=2.0)
    try:
        return (await client.request("GET", "/v2/health/ready")).status == 200
    except ClientError:
        return False
    finally:
        client.close()
