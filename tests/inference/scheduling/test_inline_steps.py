"""Which steps run on the event loop."""

from __future__ import annotations

import pytest

from service.inference.scheduling.inline_steps import SHORT_SECONDS, InlineSteps

SHORT = SHORT_SECONDS / 10


def after_a_single_step(seconds=SHORT, *, enabled=True):
    inline = InlineSteps(enabled=enabled)
    inline.begin_batch(1)
    inline.end_batch(1, 0, seconds)
    return inline


def test_a_step_runs_inline_after_a_short_single_one():
    assert after_a_single_step().begin(0)


@pytest.mark.parametrize(
    "inline",
    [
        InlineSteps(enabled=True),
        after_a_single_step(enabled=False),
        after_a_single_step(10 * SHORT_SECONDS),
        after_a_single_step(None),
    ],
    ids=["nothing is known", "disabled", "too long", "failed"],
)
def test_otherwise_it_goes_to_the_engines_thread(inline):
    assert not inline.begin(0)


def test_not_beside_other_steps():
    inline = after_a_single_step()
    assert not inline.begin(1)
    inline.begin_batch(2)
    assert not inline.begin(0)
    inline.end_batch(2, 0, None)
    assert not inline.begin(0)


def test_once_in_a_turn_of_the_event_loop():
    inline = after_a_single_step()
    assert inline.begin(0)
    inline.end(SHORT)
    assert not inline.begin(0)
    inline.end_turn()
    assert inline.begin(0)
