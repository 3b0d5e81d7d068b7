"""Writes a log line whenever the rollout's outlook changes."""

from __future__ import annotations

import logging

from service.rollout.outlook.headline import headline
from service.rollout.outlook.outlook import Outlook, judge_outlook
from service.rollout.state.record import RolloutRecord

log = logging.getLogger(__name__)

_WARNINGS = frozenset(
    {Outlook.LEANING_TO_FAIL, Outlook.NEEDS_YOU, Outlook.BLIND, Outlook.ROLLED_BACK}
)


class OutlookLog:
    """Remembers the last outlook."""

    def __init__(self) -> None:
        self._last: Outlook | None = None

    def resume_from(self, record: RolloutRecord) -> None:
        """Take the record's outlook as known, without a line."""
        self._last = judge_outlook(record)

    def note(self, record: RolloutRecord) -> None:
        """Write a line if the record's outlook differs from the last one."""
        outlook = judge_outlook(record)
        if outlook is self._last:
            return
        level = logging.WARNING if outlook in _WARNINGS else logging.INFO
        log.log(level, "rollout outlook: %s -> %s: %s", self._last, outlook, headline(record))
        self._last = outlook
