"""A whole service over fake engines, called without a socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.support.fakes import TOKENS, FakeClock, FakeEngine, put_version


@dataclass
class ServiceUnderTest:
    """The application, its client, and the fakes inside."""

    app: object
    client: httpx.AsyncClient
    engines: dict[str, FakeEngine]
    clock: FakeClock

    @property
    def controller(self):
        return self.app.state.services.controller

    async def admin(self, method, path="", *, role="approver", **options):
        """Call the admin API; `If-Match` is the present generation unless given."""
        headers = {"Authorization": f"Bearer {TOKENS[role]}", **options.pop("headers", {})}
        if method == "POST":
            headers.setdefault("If-Match", f'"{self.controller.generation}"')
        return await self.client.request(
            method, f"/admin/v1/rollout{path}", headers=headers, **options
        )

    async def copied(self):
        """Wait until the canary's copy of the last request, and the rest after it, are over."""
        shadow = self.app.state.services.dispatch._shadow
        if shadow._running is not None:
            await asyncio.gather(shadow._running, return_exceptions=True)
        self.clock.advance(0.001)
        shadow._rests_until = 0.0

    async def metric(self, name, **labels):
        """The value of a series on /metrics, None where there is none."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in (await self.client.get("/metrics")).text.splitlines():
            series, _, value = line.rpartition(" ")
            found, _, rest = series.partition("{")
            if found == name and wanted <= set(rest.rstrip("}").split(",")):
                return float(value)
        return None


@pytest.fixture
def models(tmp_path):
    put_version(tmp_path / "models", "phase-2", window=8)
    put_version(tmp_path / "models", "phase-3", window=16)
    return tmp_path / "models"


@pytest.fixture
def start(models, tmp_path):
    """Start a service; keywords are settings."""

    @asynccontextmanager
    async def begin(**settings):
        engines = {"phase-2": FakeEngine(0.5), "phase-3": FakeEngine(0.9)}
        clock = FakeClock()
        app = create_app(
            Settings(
                models=models,
                canary="phase-3",
                **{
                    "admin": {f"{role}_token": token for role, token in TOKENS.items()},
                    "rollout": {"database": tmp_path / "state.db"},
                    # Recomputed answers are then equal, not near.
                    "sessions": {"compact_history": False},
                    **settings,
                },
            ),
            clock=clock,
            make_engine=lambda files: engines[files.manifest.version],
        )
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            yield ServiceUnderTest(app, client, engines, clock)

    return begin


@pytest.fixture
async def service(start):
    async with start() as begun:
        yield begun
