"""What the guardrails have learnt in a rollout, as the rollout's record stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from service.rollout.analysis.guardrails.guardrail import GuardrailState
from service.rollout.analysis.guardrails.registry import GUARDRAILS
from service.rollout.analysis.verdict import Stance, Verdict


@dataclass(frozen=True, slots=True)
class Evidence:
    """The guardrails' states by name. A guardrail that is off, or not yet run, has none.

    `edges` are the upper bucket edges of its counts in seconds, without +Inf. In JSON
    every guardrail is a field beside `edges`, null without a state. `leanings` are those of
    the last evaluation by guardrail, so that the next one knows which way it leaned.
    """

    edges: tuple[float, ...]
    states: Mapping[str, GuardrailState] = field(default_factory=dict)
    leanings: Mapping[str, Stance] = field(default_factory=dict)

    def with_state(self, name: str, state: GuardrailState) -> Evidence:
        return replace(self, states={**self.states, name: state})

    def with_leaning(self, verdict: Verdict) -> Evidence:
        """With the leaning of this verdict; an error changes none."""
        if verdict.standing is Stance.ERROR:
            return self
        others = {name: each for name, each in self.leanings.items() if name != verdict.name}
        own = {} if verdict.leaning is None else {verdict.name: verdict.leaning}
        return replace(self, leanings={**others, **own})

    def next_step(self) -> Evidence:
        """After a change of weight; see `GuardrailState`. A leaning to a fail stays."""
        return Evidence(
            self.edges,
            {name: state.next_step() for name, state in self.states.items()},
            {n: each for n, each in self.leanings.items() if each is Stance.LEANING_TO_FAIL},
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """JSON with one field for each guardrail of the registry."""
        states = {
            guardrail.name: core_schema.typed_dict_field(
                core_schema.nullable_schema(handler.generate_schema(guardrail.state_type)),
                required=False,
            )
            for guardrail in GUARDRAILS
        }
        edges = core_schema.typed_dict_field(handler.generate_schema(tuple[float, ...]))
        leanings = core_schema.typed_dict_field(
            handler.generate_schema(dict[str, Stance]), required=False
        )
        stored = core_schema.typed_dict_schema({"edges": edges, "leanings": leanings, **states})
        return core_schema.no_info_after_validator_function(
            cls._from_fields,
            stored,
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls._to_fields, return_schema=stored
            ),
        )

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Evidence:
        states = {g.name: fields.get(g.name) for g in GUARDRAILS}
        return cls(
            fields["edges"],
            {name: state for name, state in states.items() if state is not None},
            fields.get("leanings", {}),
        )

    def _to_fields(self) -> dict[str, Any]:
        states = {g.name: self.states.get(g.name) for g in GUARDRAILS}
        return {"edges": self.edges, "leanings": dict(self.leanings), **states}
