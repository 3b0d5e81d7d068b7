"""What the prefix cache spares one arm is no evidence against the other.

The dispatch, the cache, the histograms and the guardrails as they are served; only the
engine's time is made up: a share for each vector that is run.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from service.contexts.memory_store import MemorySessionStore
from service.contexts.prefix_cache import PrefixCache
from service.inference.registry import LoadedVersion
from service.inference.scheduling.job import EngineResult
from service.metrics import Metrics, new_registry
from service.prediction.dispatch import Dispatch
from service.prediction.request import RequestOptions
from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.sources.evidence_source import counters_since
from service.rollout.analysis.sources.registry_source import RegistrySource
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.settings import LimitSettings
from service.types import Variant
from tests.support.fakes import DIM, FakeClock, manifest_of

CALLERS = 100
LONGEST = 400


@dataclass
class SlowScheduler:
    """A scheduler whose engine takes `factor` of what a real one does, by the clock."""

    clock: FakeClock
    factor: float = 1.0
    noise: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def enter(self):
        return self

    def leave(self):
        pass

    async def submit(self, vectors, _state, *, offset=0, **_more):
        seconds = self.factor * (0.002 + 0.000_24 * len(vectors)) * self.noise.lognormal(0, 0.1)
        self.clock.advance(seconds)
        state = np.zeros((1, DIM), np.float32)
        end = offset + len(vectors)
        return EngineResult(np.ones(DIM, np.float32), state, 0.0, seconds, ((end, state),))


@dataclass
class StaticRegistry:
    """A registry of what is loaded."""

    versions: dict[str, LoadedVersion]

    def get(self, version):
        return self.versions[version]

    @property
    def loaded(self):
        return tuple(self.versions.values())


class ContextTraffic:
    """Callers with long contexts, and two versions of which the first has seen them."""

    def __init__(self, *, grows, keyed, factor=1.0):
        self.clock = FakeClock()
        self.grows, self.keyed = grows, keyed
        metrics = Metrics(new_registry(), 10.0)
        metrics.expect([(Variant.STABLE, "a"), (Variant.CANARY, "b")])
        loaded = {}
        for version, slow in (
            ("a", SlowScheduler(self.clock)),
            ("b", SlowScheduler(self.clock, factor)),
        ):
            manifest = manifest_of(version, 1000, version * 64)
            loaded[version] = LoadedVersion(manifest, "none", "fp32", slow)
        self.traffic = TrafficRouter(TrafficSplit("a", "b", 0, "salt"))
        draws = random.Random(1)
        self.dispatch = Dispatch(
            self.traffic,
            StaticRegistry(loaded),
            MemorySessionStore(
                self.clock, max_bytes=1, ttl_seconds=1.0, history_vectors=1000, dim=DIM
            ),
            metrics,
            self.clock,
            limits=LimitSettings(),
            prefixes=PrefixCache(64 << 20, 500),
            draw_key=lambda: str(draws.random()),
        )
        self.source = RegistrySource(metrics)
        self.suite = guardrail_suite(RolloutPlan(), self.source.edges, 1)
        numbers = np.random.default_rng(2)
        self.contexts = numbers.standard_normal((CALLERS, LONGEST, DIM)).astype(np.float32)
        self.lengths = numbers.integers(50, 200, CALLERS)

    async def ask(self, times):
        """Every caller so often, one vector further on where its context grows."""
        for _, caller in itertools.product(range(times), range(CALLERS)):
            self.lengths[caller] += self.grows
            context = self.contexts[caller, : self.lengths[caller]]
            key = f"caller-{caller}" if self.keyed else None
            await self.dispatch.predict(context, RequestOptions(key, caller=b"c"))

    async def runs(self, weights):
        """The verdicts of each run, `weights` (basis points) one after the other."""
        await self.ask(2)
        evidence = Evidence(self.source.edges)
        before = None
        for weight in weights:
            if weight != self.traffic.current.weight_bp:
                self.traffic.set(TrafficSplit("a", "b", weight, "salt"))
                evidence = evidence.next_step()
            await self.ask(4)
            now = await self.source.read("a", "b")
            new, before = counters_since(before, now), now
            evidence, judged = self.suite.update(evidence, Measurement(new), 1)
            yield {verdict.name: verdict.outcome.name for verdict in judged.verdicts}


@pytest.mark.slow
@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("keyed", [False, True])
async def test_equal_versions_are_not_told_apart_by_what_stable_has_seen(grows, keyed):
    """Contexts sent again or one vector longer, with keys and without; also while keys move."""
    trial = ContextTraffic(grows=grows, keyed=keyed)
    weights = [500] * 7 + [2500] * 5 + [5000] * 5
    seen = [verdict async for verdict in trial.runs(weights)]
    assert not [verdict for verdict in seen if "FAIL" in verdict.values()]


@pytest.mark.slow
async def test_a_slower_canary_is_still_seen():
    """By callers who stay with their version: it knows of their contexts what stable does of
    its own callers'."""
    trial = ContextTraffic(grows=True, keyed=True, factor=1.6)
    seen = [verdict async for verdict in trial.runs([5000] * 12)]
    assert "FAIL" in {outcome for verdict in seen for outcome in verdict.values()}
