"""Keeps the canary out of traffic on this replica while the weight's lease has run out."""

from __future__ import annotations

import logging

from service.clock import Clock
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.weight_lease import LeaseState, withhold_reason
from service.rollout.storage.fleet_store import SharedRolloutStore

log = logging.getLogger(__name__)


class WeightGuard:
    """What this replica knows of the record's age, and what follows for the canary.

    `read_at` is when the stored record was last read or confirmed, by the monotonic clock.
    `seen_revision` is the newest that any replica has seen.
    """

    def __init__(
        self,
        executor: ChangeExecutor,
        shared: SharedRolloutStore,
        clock: Clock,
        interval_seconds: float,
    ) -> None:
        self.read_at = clock.monotonic()
        self.seen_revision = 0
        self._executor = executor
        self._shared = shared
        self._clock = clock
        self._interval = interval_seconds
        self._reason = ""
        executor.traffic.withheld = self.reason

    def note_revision(self, revision: int) -> None:
        """Some replica has seen `revision`. The record must not be older, and the next one that
        is stored will be newer."""
        self.seen_revision = max(self.seen_revision, self._shared.revision, revision)
        self._shared.note_revision(self.seen_revision)

    @property
    def outdated(self) -> bool:
        """Whether the store holds an older record than a replica has seen."""
        return self._shared.revision < self.seen_revision

    @property
    def unread_seconds(self) -> float:
        """Since the stored record was last read or confirmed."""
        return self._clock.monotonic() - self.read_at

    def reason(self, *, leading: bool = False) -> str:
        """Why the canary must not have traffic here; blank if it may. A leader evaluates again
        after a time without evaluations, so for `leading` these do not count."""
        now, record = self._clock.time(), self._executor.record
        return withhold_reason(
            record,
            LeaseState(
                unread_seconds=self.unread_seconds,
                now=(record.seen_at or now) if leading else now,
                interval=self._interval,
                revision=self._shared.revision,
                seen_revision=self.seen_revision,
            ),
        )

    def check(self) -> None:
        """Take the canary's traffic away, or give it back, as the lease says now."""
        reason = self.reason()
        if reason and not self._reason:
            log.error("the canary is withheld on this replica: %s", reason)
        elif self._reason and not reason:
            log.warning("the canary is no longer withheld on this replica")
        self._reason = reason
        self._executor.route()
