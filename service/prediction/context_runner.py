"""Runs whole contexts, each from its longest known prefix."""

from __future__ import annotations

from collections.abc import Sequence

from service.contexts.prefix_cache import Prefix, PrefixCache
from service.inference.registry import Registry
from service.inference.scheduling.job import EngineResult
from service.metrics import Metrics
from service.observability import tracing
from service.prediction.routing import RoutingDecision
from service.prediction.submission import Submitter, run_all
from service.types import Mode, Vectors
from service.validation import validate_values


class ContextRunner:
    """Runs whole contexts. Without `prefixes` every context runs from its first vector."""

    def __init__(
        self,
        prefixes: PrefixCache | None,
        registry: Registry,
        submitter: Submitter,
        metrics: Metrics,
    ) -> None:
        self._prefixes = prefixes
        self._registry = registry
        self._submitter = submitter
        self._metrics = metrics

    async def find_prefixes(
        self, decision: RoutingDecision, caller: bytes | None, contexts: Sequence[Vectors]
    ) -> Sequence[Prefix | None]:
        """The longest known prefix of each context `[n, dim]`; None without a look-up.

        The values of the contexts are checked as well. Raises `Invalid`.
        """
        cache = self._prefixes
        if cache is None or caller is None:
            for context in contexts:
                validate_values(context)
            return [None] * len(contexts)
        arms = (decision.split.stable, decision.split.canary)
        others = [o.digest for o in self._registry.loaded if o.manifest.version in arms]
        version = decision.loaded.digest
        span = tracing.current()
        began = tracing.now_ns() if span is not None else 0
        prefixes = await run_all(
            [cache.find(caller, version, context, others, validate_values) for context in contexts]
        )
        if span is not None:
            span.add("prefix cache", began, tracing.now_ns())
        for prefix, context in zip(prefixes, contexts, strict=True):
            self._metrics.prefix_hits.inc(prefix.length)
            self._metrics.prefix_misses.inc(len(context) - prefix.length)
        return prefixes

    async def run(
        self,
        decision: RoutingDecision,
        context: Vectors,
        prefix: Prefix | None,
        patience: float | None = None,
    ) -> EngineResult:
        """Run what `prefix` does not cover, and keep the new states.

        `patience` is as for `Scheduler.submit`, and so are the errors.
        """
        if prefix is None or self._prefixes is None:
            return await self._submitter.submit(
                decision, Mode.PREFILL, context, None, exact=True, patience=patience
            )
        result = await self._submitter.submit(
            decision,
            Mode.PREFILL,
            context[prefix.length :],
            prefix.state,
            offset=prefix.length,
            keep_states=True,
            exact=True,
            patience=patience,
        )
        self._prefixes.keep(prefix, result.states)
        return result
