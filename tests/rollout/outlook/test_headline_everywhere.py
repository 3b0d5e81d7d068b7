"""Every sentence that a status can say, in every state, judged by the service's own guardrails."""

from __future__ import annotations

import json
import logging
import re
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console, Group

from service.commands.rollout_view import history_lines, status_view
from service.commands.rollout_watch import status_line, watch_view
from service.rollout.controller.outlook_log import OutlookLog
from service.rollout.notifications import webhook_message
from service.rollout.outlook.headline import with_headline
from service.rollout.outlook.outlook import Outlook, failing
from tests.support.outlook_cases import cases
from tests.support.outlook_page import every_sentence, page, said

ROOT = Path(__file__).parents[3]
CASES = cases()
ROW = {
    "id": 12,
    "at": 1_800_000_000.0,
    "actor": "controller",
    "reason": "step_passed",
    "note": "",
    "from": "Progressing",
    "to": "Progressing",
    "weight_percent": 25.0,
    "stable": "phase-2",
    "canary": "phase-3",
    "message": "the arithmetic",
}


@pytest.mark.parametrize("name", CASES)
def test_a_sentence_is_whole(name):
    """No gap where a word is missing, no doubled mark, and a stop at its end."""
    for sentence in every_sentence(CASES[name]):
        assert not re.search(r"None|nan|inf\b|  | [.,;:]|[.;:,][.;:,]|: ;|\(\)", sentence), sentence
        assert sentence.count("(") == sentence.count(")"), sentence
    told = said(CASES[name])
    assert told["headline"].endswith(".")
    assert len(told["headline"]) <= 230, told["headline"]
    assert told["next"]["text"].endswith("."), "a person knows what to do, or that nothing is to do"


def test_a_figure_beyond_its_limit_is_not_called_good():
    text = said(CASES["next step after a pass, slower by chance"])["headline"]
    assert text.startswith("phase-3 has looked good so far, but its P95 is 41 % higher")


def test_evidence_that_cannot_grow_is_not_awaited():
    text = said(CASES["a leaning without requests"])["next"]["text"]
    assert "But no request has reached it for 1 min 15 s: abort it, or send requests." in text
    assert "at this pace" not in text


def test_every_outlook_is_among_them():
    assert set(Outlook) == {said(found)["outlook"] for found in CASES.values()}


@pytest.mark.parametrize("name", CASES)
def test_a_figure_that_complies_is_never_the_reason_against_the_canary(name):
    """Where the evidence is from earlier, the sentence says so."""
    worst, text = failing(CASES[name]), said(CASES[name])["headline"]
    if worst is not None and worst.contradicts_its_figure:
        assert "earlier requests" in text
    if worst is not None and "earlier requests" not in text:
        assert worst.comparison is not None
        within = worst.comparison.is_within_limit and bool(worst.fail_bound)
        assert not within, text


def test_one_of_them_complies_and_leans_all_the_same():
    text = said(CASES["latency leans to fail, now faster"])["headline"]
    assert "looks too slow because of earlier requests; in this step its P95" in text
    text = said(CASES["one mode leans to fail"])["headline"]
    assert "its P95 of prefill requests is 3 times stable's" in text
    text = said(CASES["errors and latency fail together"])["headline"]
    assert "its error rate is " in text


@pytest.mark.parametrize("name", CASES)
def test_everybody_says_the_same_headline(name, caplog):
    """Command line, watch, history, webhook and log use the words of the status."""
    found = CASES[name]
    told = said(found)
    text = told["headline"]
    for shown in (status_view(told), watch_view(told)):
        assert text in _printed(shown)
    assert status_line(told).endswith(f": {text}")
    (row,) = with_headline((ROW,), found)
    assert text in "".join(str(line) for line in history_lines([row]))
    assert f"nextvec: {text}" == unescape(json.loads(webhook_message.body(row))["text"])
    caplog.set_level(logging.INFO)
    OutlookLog().note(found)
    assert text in caplog.text


def test_the_page_of_the_documentation_shows_them():
    """`python -m tests.support.outlook_page > docs/reference/rollout-sentences.md` renews it."""
    assert page() == (ROOT / "docs/reference/rollout-sentences.md").read_text("utf-8")


def _printed(shown: Group) -> str:
    console = Console(width=400, force_terminal=False, highlight=False)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()
