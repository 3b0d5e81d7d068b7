"""What the list of replicas says about a rollout."""

from __future__ import annotations

import pytest

from service.rollout.controller.fleet_rules import (
    describe_deaths,
    living,
    newest_revision,
    other_files,
    unexpected_deaths,
    unprepared,
)
from service.rollout.state.events import Phase
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.fleet_store import FleetView, ReplicaEntry, ReplicaReport
from tests.support.rollout_fakes import QUICK

NOW = 10_000.0


def entry(name, *, seen=NOW, departed=False, superseded=False, revision=1, **versions):
    report = ReplicaReport(f"boot of {name}", name, revision, versions)
    return ReplicaEntry(report, NOW - 5000, seen, departed, superseded)


def view(*entries):
    return FleetView(NOW, 1, None, None, entries)


def names(entries):
    return [each.report.replica for each in entries]


def rollout(phase=Phase.PROGRESSING, step_since=NOW - 300, since=NOW - 300):
    return RolloutState(
        "a", phase, 3, canary="b", plan=QUICK, step_since=step_since, since=since, warmed=True
    )


def test_a_replica_lives_while_it_is_heard_of():
    seen = view(
        entry("here"),
        entry("late", seen=NOW - 9.9),
        entry("silent", seen=NOW - 10),
        entry("gone", departed=True),
        entry("replaced", superseded=True),
    )
    assert ["here", "late"] == names(living(seen))


def test_the_newest_revision_is_that_of_a_living_replica():
    assert 5 == newest_revision(
        view(entry("a", revision=3), entry("b", revision=5), entry("c", revision=9, seen=0.0))
    )
    assert 0 == newest_revision(view())


@pytest.mark.parametrize(
    ("dead", "counts"),
    [
        (entry("silent", seen=NOW - 20), True),
        (entry("killed and back", seen=NOW - 2, superseded=True), True),
        (entry("stopped", seen=NOW - 20, departed=True), False),
        (entry("living"), False),
        (entry("before the rise", seen=NOW - 301), False),
    ],
)
def test_a_death_counts_if_it_was_unexpected_and_after_the_rise(dead, counts):
    assert counts == bool(unexpected_deaths(view(dead), rollout()))


def test_a_death_long_after_the_rise_does_not_count():
    dead = entry("silent", seen=NOW - 20)
    assert unexpected_deaths(view(dead), rollout(step_since=NOW - 619, since=NOW - 700))
    assert not unexpected_deaths(view(dead), rollout(step_since=NOW - 621, since=NOW - 700))


def test_a_death_before_a_person_resumed_does_not_count_again():
    dead = entry("silent", seen=NOW - 200)
    assert unexpected_deaths(view(dead), rollout())
    assert not unexpected_deaths(view(dead), rollout(since=NOW - 100))


def test_without_a_canary_in_traffic_nothing_is_counted():
    dead = entry("silent", seen=NOW - 20)
    for phase in (Phase.PENDING, Phase.ROLLED_BACK, Phase.PROMOTING):
        assert not unexpected_deaths(view(dead), rollout(phase))


def test_the_message_names_the_dead():
    dead = (entry("one"), entry("two"))
    text = describe_deaths(dead, rollout())
    assert "2 replicas died within 10 minutes of the rise to 10 %: one, two" in text


def test_who_has_not_loaded_the_canary():
    seen = view(entry("a", b="digest"), entry("b"), entry("dead", seen=0.0))
    assert ["b"] == names(unprepared(seen, "b"))


def test_other_files_of_the_canary_are_named():
    seen = view(entry("leader", b="1" * 64), entry("other", b="2" * 64))
    failure = other_files(seen, "b", {"b": "1" * 64})
    assert "other has other files of b (digest 222222222222)" in failure.message
    assert other_files(view(entry("leader", b="1" * 64)), "b", {"b": "1" * 64}) is None
