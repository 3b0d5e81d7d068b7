"""The documentation's pictures: drawn from data, small, and readable in light and dark mode."""

from __future__ import annotations

import re

import pytest

from deploy.site.pictures import evidence, peeking, request_walk, rollout_states, session_cost
from deploy.site.pictures.canvas import MAX_BYTES, PALETTE, PictureSizeError, render, save
from service.rollout.state.events import TRANSITIONS
from tests.support.sources import ROOT

IMAGES = ROOT / "docs" / "images"
DRAWN = ("evidence", "peeking", "request-walk", "rollout-states", "session-cost")


def row(rule, ratio, rate):
    return {
        "rule": rule,
        "ratio": ratio,
        "rate": rate,
        "rolled_back_by_minute": [rate * minute / 60 for minute in range(61)],
    }


REPORT = {
    "settings": {"rollouts": 1000, "alpha": 0.01},
    "rows": [row(rule, 1.0, 0.5) for rule in peeking.COLOURS],
}
TRACE = {
    "ratio": 2.0,
    "ending": "rolled back",
    "fail_bound": 5.7,
    "pass_bound": 4.9,
    "points": [
        {"seconds": 15.0 * n, "requests": 40 * n, "log_fail": n, "log_pass": -n, "ratio": 2.0}
        for n in range(7)
    ],
}
COSTS = {
    "costs": [
        {"vectors": n, "session_bytes": 9000 + 800 * n, "step_ms": 1.0, "context_ms": 0.5 * n}
        for n in (1, 10, 100, 1000)
    ]
}
FIGURES = {
    "evidence": lambda: evidence.draw([TRACE]),
    "peeking": lambda: peeking.draw(REPORT, REPORT),
    "request-walk": request_walk.draw,
    "rollout-states": rollout_states.draw,
    "session-cost": lambda: session_cost.draw(COSTS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_has_no_colour_of_its_own(name):
    """Every colour is a variable that light and dark mode set."""
    text = render(FIGURES[name]())
    head = text[: text.index("</style>")]
    assert "prefers-color-scheme:dark" in head
    assert [] == re.findall(r"#[0-9a-f]{6}\b", text[len(head) :])
    assert {marker for marker in PALETTE if marker in text} == set()


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_of_the_documentation_is_drawn_and_small(name):
    assert 1000 < (IMAGES / f"{name}.svg").stat().st_size <= MAX_BYTES


@pytest.mark.slow
def test_the_same_data_give_the_same_picture():
    assert render(FIGURES["peeking"]()) == render(FIGURES["peeking"]())


def test_a_picture_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.site.pictures.canvas.MAX_BYTES", 1000)
    with pytest.raises(PictureSizeError, match="over 1000"):
        save(FIGURES["request-walk"](), tmp_path / "a.svg")


def test_the_diagram_of_the_phases_has_every_transition_and_no_other():
    assert {(source, target) for source, target, _ in TRANSITIONS} == set(rollout_states.EDGES)
    assert set(rollout_states.PATHS) == set(rollout_states.EDGES)


@pytest.mark.parametrize("name", ["request-walk", "rollout-states"])
def test_a_diagram_is_committed_as_it_is_drawn(name):
    """`python -m deploy.site.pictures.draw` after a change."""
    assert (IMAGES / f"{name}.svg").read_text() == render(FIGURES[name]())
