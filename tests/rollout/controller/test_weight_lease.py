"""When a replica withholds the canary by itself."""

from __future__ import annotations

import pytest

from service.rollout.controller.weight_lease import LeaseState, withhold_reason
from service.rollout.state.events import Phase
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from tests.support.rollout_fakes import QUICK


def record(phase, seen_at=100.0):
    canary = None if phase is Phase.HEALTHY else "b"
    plan = None if canary is None else QUICK
    return RolloutRecord(RolloutState("a", phase, canary=canary, plan=plan), seen_at=seen_at)


def state(**changes):
    return LeaseState(
        **{
            "unread_seconds": 0.5,
            "now": 101.0,
            "interval": 5.0,
            "revision": 7,
            "seen_revision": 7,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("phase", "changes", "reason"),
    [
        (Phase.PROGRESSING, {}, ""),
        (Phase.PROGRESSING, {"unread_seconds": 9.0}, ""),
        (Phase.PROGRESSING, {"unread_seconds": 9.1}, "could not be read for 9 s"),
        (Phase.PROGRESSING, {"now": 115.0}, ""),
        (Phase.PROGRESSING, {"now": 115.1}, "no replica has evaluated the rollout for 15 s"),
        (Phase.PAUSED, {"now": 200.0}, "no replica has evaluated"),
        (Phase.PROMOTING, {"now": 200.0}, "no replica has evaluated"),
        # Nobody evaluates a rollout that is over, or whose canary is being loaded.
        (Phase.HEALTHY, {"now": 9e9}, ""),
        (Phase.PENDING, {"now": 9e9}, ""),
        # Very short intervals leave time for a pause of the interpreter.
        (Phase.PROGRESSING, {"interval": 0.1, "now": 103.0}, ""),
        (Phase.PROGRESSING, {"interval": 0.1, "now": 103.1}, "no replica has evaluated"),
        (Phase.PROGRESSING, {"seen_revision": 8}, "was a backup restored"),
        (Phase.HEALTHY, {"seen_revision": 8}, "was a backup restored"),
        # The fleet's clock was set back: that is no silence.
        (Phase.PROGRESSING, {"now": -5000.0}, ""),
    ],
)
def test_the_reason_to_withhold(phase, changes, reason):
    found = withhold_reason(record(phase), state(**changes))
    assert bool(reason) == bool(found)
    assert reason in found
