"""The record as JSON, exact to the last bit of every float, and the rows beside it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

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


def dump_row(row: Mapping[str, object]) -> str:
    """A row of the audit log, or a response. Raises `ValueError` for NaN and infinities."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False)
