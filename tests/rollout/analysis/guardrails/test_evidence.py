"""The evidence in a stored record: one JSON field for each guardrail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from service.rollout.analysis.counters import Counters, CountsByArm, KeyCounts, KeyCountsByArm
from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES
from service.rollout.analysis.verdict import Stance, Verdict, VerdictOutcome
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.state.assessment import assess_record
from service.rollout.storage.record_json import dump_record, load_record
from service.types import SHARES
from tests.support.rollout_fakes import EDGES, bucket_counts, plan

STORED = (Path(__file__).parent / "data" / "record-0.1.json").read_text()
"""A record as nextvec 0.1 stored it, with evidence of every guardrail."""

VERDICTS_OF_0_1 = {
    # name: ln E for a fail, ln E for a pass, canary, stable, ratio
    "latency": (-0.883953701166908, 0.2917328642423407, 20, 202, 1.0168532692369059),
    "inference": (-1.3788307199931795, 0.4957800258622583, 20, 200, 1.0466351943350063),
    "errors": (-0.6203586571456917, -0.6798022360191607, 31, 303, 1.6209276199646927),
    "quality": (-0.4932662857152158, -0.5456884920093759, 12, 18, 1.0),
    "ceiling": (-1.2927287058422494, -0.871155817093181, 20, 202, 0.0),
    "interference": (-2.5028797720985234, 0.0, 0, 202, 1.108167509250576),
}


def test_a_record_of_0_1_is_read_and_its_verdicts_are_the_same():
    assessment = assess_record(load_record(STORED))
    found = {
        v.name: (v.log_fail, v.log_pass, v.canary, v.stable, v.ratio) for v in assessment.verdicts
    }
    assert set(VERDICTS_OF_0_1) | {"shadow"} == set(found) | {"shadow"}
    for name, expected in VERDICTS_OF_0_1.items():
        assert expected == pytest.approx(found[name]), name


def test_a_record_is_stored_under_the_names_of_0_1():
    """So that an older service can read it after a downgrade."""
    stored, written = json.loads(STORED), json.loads(dump_record(load_record(STORED)))
    assert stored == _same_fields(written, stored)


def test_every_guardrails_state_survives_json():
    everything = {name: {"enabled": True} for name in GUARDRAIL_NAMES}
    suite = guardrail_suite(plan(guardrails=everything), EDGES, 1)
    fast = bucket_counts([0.1] * 500)
    evidence = suite.initial_evidence(EDGES, {"step": fast})
    keys = KeyCounts((9,) * len(SHARES))
    measurement = Measurement(
        Counters(
            requests={"step": CountsByArm(fast, bucket_counts([0.1, 0.4], faults=1))},
            inference={"step": CountsByArm(fast, bucket_counts([0.1, 0.4]))},
            keys=KeyCountsByArm(keys, keys),
        )
    )
    for _ in range(3):
        evidence, _ = suite.update(evidence, measurement, 0)
    evidence = evidence.next_step()
    evidence, _ = suite.update(evidence, measurement, 1)
    assert set(GUARDRAIL_NAMES) == set(evidence.states)
    adapter = TypeAdapter(Evidence)
    stored = adapter.dump_json(evidence, by_alias=True)
    assert {"edges", "leanings", *GUARDRAIL_NAMES} == set(json.loads(stored))
    assert evidence == adapter.validate_json(stored, strict=True)


def test_a_guardrail_without_a_state_is_null_in_json():
    adapter = TypeAdapter(Evidence)
    stored = adapter.dump_json(Evidence((0.1,)), by_alias=True)
    nothing = {"edges": [0.1], "leanings": {}, **dict.fromkeys(GUARDRAIL_NAMES)}
    assert nothing == json.loads(stored)
    assert Evidence((0.1,)) == adapter.validate_json(stored, strict=True)


def _same_fields(written, wanted):
    """What was written, without the fields that the wanted object does not have."""
    if isinstance(wanted, dict):
        return {name: _same_fields(written[name], wanted[name]) for name in wanted}
    return written


def test_a_leaning_is_remembered_and_only_one_to_a_fail_survives_the_step():
    """An error changes none, because nothing was judged."""
    evidence = Evidence((0.1,))
    for name, standing in (("latency", Stance.LEANING_TO_FAIL), ("errors", Stance.PASSED)):
        evidence = evidence.with_leaning(_standing(name, standing))
    leanings = {"latency": Stance.LEANING_TO_FAIL, "errors": Stance.LEANING_TO_PASS}
    assert leanings == evidence.leanings
    assert evidence == evidence.with_leaning(_standing("latency", Stance.ERROR))
    assert {"latency": Stance.LEANING_TO_FAIL} == evidence.next_step().leanings
    assert {"errors"} == set(
        evidence.with_leaning(_standing("latency", Stance.COLLECTING)).leanings
    )


def _standing(name: str, standing: Stance) -> Verdict:
    outcome = {Stance.PASSED: VerdictOutcome.PASS, Stance.ERROR: VerdictOutcome.ERROR}
    failing = 5.0 if standing is Stance.LEANING_TO_FAIL else 0.0
    made = Verdict(
        name, outcome.get(standing, VerdictOutcome.INCONCLUSIVE), "", 1.2, 6, 6, failing, canary=1
    )
    assert standing is made.standing
    return made
