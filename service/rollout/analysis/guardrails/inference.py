"""The inference guardrail: the latency test over the time in the engine alone.

That time has no queue and no neighbours' requests in it, so it shows a slow version sooner
and more clearly. It may roll back, but by default no step needs its pass: callers wait for
the whole request. Predictions that fail have no inference time and are in neither arm.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.guardrails.config import GuardrailConfig
from service.rollout.analysis.guardrails.latency import LatencyConfig, LatencyGuardrail


class InferenceConfig(LatencyConfig):
    """The canary's P95 in the engine over stable's; see the plan's `ratio` and `quantile`."""

    required: bool = Field(default=False, description="Every step needs its pass.")


class InferenceGuardrail(LatencyGuardrail):
    """The guardrail over the time in the engine."""

    name: ClassVar[str] = "inference"
    config_type: ClassVar[type[GuardrailConfig]] = InferenceConfig
    alpha_parts: ClassVar[int] = 1
    slower: ClassVar[str] = "slower in the engine"
    note: ClassVar[str] = ""

    @property
    def label(self) -> str:
        return self.subject

    @property
    def subject(self) -> str:
        return f"{self.parameters.percentile_name} in the engine"

    def counts(self, counters: Counters) -> dict[str, CountsByArm]:
        return counters.inference
