"""The status and the history in the terminal, from the statuses of real rollouts."""

from __future__ import annotations

import pytest
from rich.console import Console, Group

from service.commands.rollout_view import history_lines, preview_lines, status_view
from tests.support.rollout_fakes import SHADOWED, RolloutWorld


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


def shown(view, width=80) -> list[str]:
    console = Console(width=width, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(view)
    return [line.rstrip() for line in capture.get().splitlines()]


async def test_the_headline_comes_first_and_the_arithmetic_only_on_demand(world):
    await world.begin()
    status = await world.healthy_ticks(2)
    lines = shown(status_view(status), 400)
    assert status["headline"] == lines[0]
    assert f"Next: {status['next']['text']}" == lines[1]
    assert "stable phase-2 90 %   canary phase-3 10 %   step 1 of 2   Progressing" == lines[2]
    assert "ln E" not in "\n".join(lines)
    assert "You may: abort, pause, promote" in lines[-1]
    table = next(line for line in lines if line.startswith("* P95 latency"))
    assert "% to a pass" in table
    assert table.endswith("≤ 1.2×")
    verbose = "\n".join(shown(status_view(status, verbose=True), 400))
    assert status["guardrails"][0]["message"] in verbose
    assert "passes at" in verbose


async def test_a_guardrail_that_leans_to_fail_comes_first(world):
    await world.begin()
    await world.healthy_ticks(1)
    while (status := await world.slow_ticks(1))["outlook"] != "leaning_to_fail":
        pass
    lines = shown(status_view(status))
    header = next(i for i, line in enumerate(lines) if line.startswith("guardrail"))
    assert lines[header + 1].startswith("* P95 latency")
    assert "% to a fail" in lines[header + 1]
    await world.slow_ticks(10)
    status = world.controller.status()
    text = "\n".join(shown(status_view(status), 400))
    assert "times stable's (plausible range)" in text


async def test_a_replica_that_withholds_the_canary_says_so(world):
    await world.begin()
    status = await world.healthy_ticks(1)
    fleet = {"withheld": "the record is 12 s old", "leader": None}
    lines = shown(status_view({**status, "fleet": fleet}), 400)
    assert "This replica keeps the canary out of traffic: the record is 12 s old." in lines
    assert "No replica evaluates the rollout now." in lines
    quiet = shown(status_view({**status, "fleet": {"withheld": None, "leader": "a"}}), 400)
    assert shown(status_view(status), 400) == quiet


async def test_the_table_fits_eighty_columns(world):
    await world.begin()
    status = await world.healthy_ticks(2)
    assert all(len(line) <= 80 for line in shown(status_view(status)))
    assert "…" not in "\n".join(shown(status_view(status)))


async def test_a_shadow_step_has_no_evidence_in_numbers(world):
    world.use(SHADOWED)
    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    world.shadow.ran(10)
    await world.tick(10)
    world.shadow.ran(50)
    status = await world.tick()
    text = "\n".join(shown(status_view(status, verbose=True), 400))
    assert "canary phase-3 0 %" in text
    assert "Shadow run" in text
    row = next(line for line in shown(status_view(status, verbose=True), 400) if line.endswith("–"))
    assert row.startswith("Shadow run")


async def test_the_history_says_the_headlines(world):
    await world.begin()
    await world.controller.changes.abort(None, "anna", "wrong version")
    rows = await world.controller.history()
    lines = shown(Group(*history_lines(rows)), 400)
    assert 2 * len(rows) == len(lines)
    assert lines[0].endswith("  anna  Progressing → Aborting  0 %") or "Aborting" in lines[0]
    assert "phase-3 was stopped by anna" in lines[1]
    assert 1 == lines[1].count("wrong version")
    assert "– try it" in lines[-1]
    piped = shown(Group(*history_lines(rows, one_line=True)), 10_000)
    assert len(rows) == len(piped)
    verbose = shown(Group(*history_lines(rows, verbose=True, one_line=True)), 10_000)
    assert "aborted by hand" in verbose[0]


def test_a_dry_run_says_that_nothing_was_changed():
    move = {"from": "Healthy", "to": "Pending", "reason": "start", "weight_percent": 0.0}
    (line,) = preview_lines({"transitions": [move]})
    assert "Preview, nothing was changed: Healthy → Pending (start) at 0 %" == line.plain
    assert [] == preview_lines({})
