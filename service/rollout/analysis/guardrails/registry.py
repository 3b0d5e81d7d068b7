"""Every guardrail there is. The plan's models, the stored states and the suite follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import create_model

from service.rollout.analysis.guardrails.config import GuardrailConfig, PlanModel
from service.rollout.analysis.guardrails.error_rate import ErrorRateGuardrail
from service.rollout.analysis.guardrails.guardrail import Guardrail
from service.rollout.analysis.guardrails.inference import InferenceGuardrail
from service.rollout.analysis.guardrails.interference import InterferenceGuardrail
from service.rollout.analysis.guardrails.latency import LatencyGuardrail
from service.rollout.analysis.guardrails.latency_ceiling import LatencyCeilingGuardrail
from service.rollout.analysis.guardrails.quality import QualityGuardrail

GUARDRAILS: tuple[type[Guardrail[Any, Any]], ...] = (
    LatencyGuardrail,
    InferenceGuardrail,
    ErrorRateGuardrail,
    QualityGuardrail,
    LatencyCeilingGuardrail,
    InterferenceGuardrail,
)
"""In the order in which people see them."""

GUARDRAIL_NAMES = tuple(guardrail.name for guardrail in GUARDRAILS)


class _GuardrailConfigs(PlanModel):
    """The plan's `guardrails`: the config of each, by its name."""

    def of(self, name: str) -> GuardrailConfig:
        """The config of one guardrail."""
        config: GuardrailConfig = getattr(self, name)
        return config

    @property
    def enabled(self) -> frozenset[str]:
        """The names of the guardrails that are judged."""
        return frozenset(name for name in GUARDRAIL_NAMES if self.of(name).enabled)

    @property
    def required(self) -> frozenset[str]:
        """The names of those whose pass every step needs, with or without evidence."""
        return frozenset(name for name in self.enabled if self.of(name).required is True)

    @property
    def able_to_pass(self) -> frozenset[str]:
        """The names of those that are judged and can pass: a step may require them."""
        return frozenset(g.name for g in GUARDRAILS if g.can_pass and g.name in self.enabled)


if TYPE_CHECKING:
    GuardrailConfigs = _GuardrailConfigs
else:
    GuardrailConfigs = create_model(
        "GuardrailConfigs",
        __base__=_GuardrailConfigs,
        __doc__="What a plan says about each guardrail, by name.",
        **{g.name: (g.config_type, g.config_type()) for g in GUARDRAILS},
    )
