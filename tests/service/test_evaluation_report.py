"""The evaluation report: both stored forms are read, and damaged ones are refused by field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from service import evaluation_report
from service.evaluation_report import EvaluationReport, ReportError
from service.validation_errors import first_error
from tests.support.fakes import evaluated

OWN, OTHER = "a" * 64, "b" * 64
HIT = {"value": 0.4, "low": 0.3, "high": 0.5}
POOL = {"kind": "random", "size": 1000, "seed": 0}


def score(name, digest=OWN, *, held_out=True, **metrics):
    return {
        "name": name,
        "kind": "model" if digest else "baseline",
        "window": 8 if digest else None,
        "checkpoint_sha256": digest,
        "held_out": held_out,
        **metrics,
    }


def section(name, *scores):
    difference = {
        "a": "phase-4",
        "b": "phase-3",
        "metric": "hit_at_5",
        "difference": 0.01,
        "low": -0.02,
        "high": 0.03,
        "a_checkpoint_sha256": OTHER,
        "a_window": 8,
        "b_checkpoint_sha256": OWN,
        "b_window": 8,
    }
    return {"name": name, "pool": POOL, "scores": [*scores], "differences": [difference]}


def report(*sections):
    return EvaluationReport.model_validate({"data": {"sha256": "d" * 64}, "sets": sections})


def test_a_checkpoints_part_has_its_score_the_baselines_and_its_differences():
    """Other checkpoints are left out, and `a` of each difference is this one."""
    rule = score("repeat the last vector", None)
    found = report(
        section("eras", score("phase-4", OTHER, hit_at_5=HIT), score("phase-3", hit_at_5=HIT), rule)
    ).for_checkpoint(OWN, 8)
    assert found is not None
    (only,) = found.sets
    assert ["phase-3", "repeat the last vector"] == [one.name for one in only.scores]
    (difference,) = only.differences
    assert ("phase-3", "phase-4") == (difference.a, difference.b)
    assert (-0.01, -0.03, 0.02) == (difference.difference, difference.low, difference.high)
    assert (OWN, OTHER) == (difference.a_checkpoint_sha256, difference.b_checkpoint_sha256)


@pytest.mark.parametrize(
    "scores",
    [
        (score("phase-3", hit_at_5=HIT, held_out=False),),
        (score("phase-3"),),
        (score("phase-4", OTHER, hit_at_5=HIT),),
        (),
    ],
)
def test_a_set_without_a_held_out_score_of_the_checkpoint_is_left_out(scores):
    """Seen documents, a withheld metric, another checkpoint, nothing at all."""
    eras = section("eras", score("phase-3", hit_at_5=HIT))
    found = report(eras, section("latest", *scores)).for_checkpoint(OWN, 8)
    assert found is not None
    assert ["eras"] == [one.name for one in found.sets]
    assert report(section("latest", *scores)).for_checkpoint(OWN, 8) is None


def test_another_window_is_another_model():
    assert report(section("eras", score("phase-3", hit_at_5=HIT))).for_checkpoint(OWN, 9) is None


def test_a_report_survives_a_round_trip_and_withheld_metrics_are_absent():
    first = report(section("eras", score("phase-3", hit_at_5=HIT), score("phase-4", OTHER)))
    stored = json.loads(first.model_dump_json())
    assert EvaluationReport.model_validate(stored) == first
    own, withheld = stored["sets"][0]["scores"]
    assert HIT == own["hit_at_5"]
    assert not {*evaluation_report.METRICS} & {*withheld}
    assert withheld["window"] == 8


def test_the_form_of_earlier_manifests_is_read():
    """One set at the top level, the others in `other_sets`."""
    latest = evaluated(0.2, 0.1, 0.3, set="latest") | {"set": "latest"}
    found = EvaluationReport.model_validate({**evaluated(0.4, 0.3, 0.5), "other_sets": [latest]})
    assert ["eras", "latest"] == [one.name for one in found.sets]
    hits = [one.score_of("0" * 64, 8) for one in found.sets]
    assert [0.4, 0.2] == [hit.hit_at_5.value for hit in hits if hit and hit.hit_at_5]
    assert "d" * 64 == found.data.sha256


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"score": 1}, "sets.0.scores.0"),
        ({"other_sets": 1}, "sets.1"),
        ({"other_sets": [1]}, "sets.1"),
        ({"baselines": 1, "pool": {}}, "sets.0.pool.kind"),
        ({"data": {}}, "data.sha256"),
    ],
)
def test_a_damaged_earlier_form_is_refused_by_field(change, field):
    with pytest.raises(ValidationError) as raised:
        EvaluationReport.model_validate({**evaluated(0.4, 0.3, 0.5), **change})
    assert field in first_error(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Invalid JSON"),
        ("[]", "not a report of nextvec evaluate"),
        ('{"schema_version": 1, "data": {"sha256": "d"}, "sets": []}', "schema_version"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, text: str, says: str):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ReportError, match=says):
        evaluation_report.load(path)
    with pytest.raises(ReportError, match="No such file"):
        evaluation_report.load(tmp_path / "absent.json")
