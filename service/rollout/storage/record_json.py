"""The record as JSON, exact to the last bit of every float. Pure."""

from __future__ import annotations

from pydantic import TypeAdapter

from service.rollout.plan.rollout_plan import STORED
from service.rollout.state.record import RolloutRecord

_RECORD = TypeAdapter(RolloutRecord)


def dump_record(record: RolloutRecord) -> str:
    """The stored form. The assessments are left out, because they follow from the evidence."""
    return _RECORD.dump_json(record, by_alias=True, exclude={"assessment", "earlier"}).decode()


def load_record(text: str) -> RolloutRecord:
    """The record from its stored form. Raises `ValidationError` for anything else."""
    return _RECORD.validate_json(text, strict=True, context=STORED)
