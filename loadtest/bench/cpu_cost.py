"""CPU time of a request in each process of the service, from the system's own counts.

The engine costs nothing, so this is all that the service itself costs. CPU time hardly depends on
what else a machine does, where latencies depend on nothing more. Each way is measured in the same
run, with the same load.

    python -m loadtest.bench.cpu_cost MODELS
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import streams
from loadtest.demo import environment
from loadtest.generator import closed_loop
from loadtest.generator.callers import Caller, make_session_callers
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import HttpClient, HttpResponse
from loadtest.generator.step_frames import StepFrameCaller
from loadtest.process_stats import process_tree, read_cpu_seconds
from loadtest.streams import Streams
from service.clock import Clock, SystemClock

LAUNCHER = (sys.executable, "-m", "loadtest.bench.echo_engine")
_SESSION_LENGTH = 400


@dataclass(frozen=True)
class CpuCost:
    """One measurement: `rate` steps a second, and CPU microseconds a step by role of process."""

    rate: float
    micros: Mapping[str, float]


@dataclass(frozen=True)
class CpuBenchmark:
    """What to measure: a version, for `seconds` in each way."""

    models: Path
    version: str
    streams: Streams
    clock: Clock
    seconds: float

    def measure(self, workers: int, sessions: int, rows: int = 1) -> CpuCost:
        """Steps of `sessions` callers with `workers` processes for HTTP.

        With `rows` above 1 each request has that many steps. Raises `EnvironmentSetupError` and
        `ClientError`.
        """
        settings = {"NEXTVEC_HTTP__WORKERS": str(workers)}
        with (
            tempfile.TemporaryDirectory() as folder,
            environment.run_server(
                self.models, Path(folder), self.version, None, settings, LAUNCHER
            ) as server,
        ):
            return run_fast(self._drive(server, sessions, rows))

    async def _drive(self, server: environment.ServerProcess, sessions: int, rows: int) -> CpuCost:
        await server.ready(self.clock, 60.0)
        client = HttpClient(server.url)
        try:
            callers = self._callers(client, sessions, rows)
            await closed_loop.run(callers, 0.3, self.clock)  # connections and first sessions
            before = cpu_by_role(server.process.pid)
            counted = [_Counter(each) for each in callers]
            times = await closed_loop.run(counted, self.seconds, self.clock)
            after = cpu_by_role(server.process.pid)
            steps = rows * sum(each.calls for each in counted)
            return CpuCost(
                times.rate * rows,
                {role: 1e6 * (after[role] - before[role]) / steps for role in after},
            )
        finally:
            client.close()

    def _callers(self, client: HttpClient, sessions: int, rows: int) -> Sequence[Caller]:
        if rows == 1:
            return make_session_callers(
                client, self.streams, sessions, _SESSION_LENGTH, f"cpu-{sessions}"
            )
        return [
            StepFrameCaller(client, self.streams, number * rows, rows, "cpu")
            for number in range(sessions)
        ]


@dataclass
class _Counter:
    """Counts the calls of another caller."""

    caller: Caller
    calls: int = 0

    async def call(self) -> HttpResponse:
        self.calls += 1
        return await self.caller.call()


def cpu_by_role(pid: int) -> dict[str, float]:
    """CPU seconds of a server's processes: `all` in one process, or `engine` and `workers`."""
    found: dict[str, float] = {}
    tree = process_tree(pid)
    for process, arguments in tree.items():
        if len(tree) == 1:
            role = "all"
        elif process == pid:
            role = "supervisor"
        else:
            role = "workers" if any("worker_process" in each for each in arguments) else "engine"
        found[role] = found.get(role, 0.0) + read_cpu_seconds(process)
    return found


def main() -> None:
    """Print the costs of some ways for the version phase-3 of a model repository."""
    benchmark = CpuBenchmark(
        Path(sys.argv[1]), "phase-3", streams.load(streams.SAMPLE), SystemClock(), 4.0
    )
    for workers, sessions, rows in (
        (1, 1, 1),
        (1, 32, 1),
        (2, 1, 1),
        (2, 32, 1),
        (1, 2, 32),
        (2, 2, 32),
    ):
        cost = benchmark.measure(workers, sessions, rows)
        shown = ", ".join(f"{role} {micros:.0f}" for role, micros in cost.micros.items())
        print(f"workers {workers}, callers {sessions}, rows {rows}: {cost.rate:.0f}/s; µs: {shown}")


if __name__ == "__main__":
    main()
