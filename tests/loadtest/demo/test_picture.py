"""The picture of the demo is drawn for every ending."""

from __future__ import annotations

import pytest

from loadtest.demo.picture import draw_demo
from loadtest.demo.run import ActRun
from loadtest.demo.scenario import ACTS
from tests.support.act_runs import FakeDriver, act_run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "act_runs",
    [
        [act_run(), act_run(ACTS[1])],
        [act_run(problems=["hung"])],
        [ActRun(ACTS[0], FakeDriver([]))],
    ],
)
def test_the_picture_is_drawn_however_the_acts_ended(tmp_path, act_runs):
    """Even without any request."""
    draw_demo(act_runs, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
