"""The gate on figures known in advance: what is missed, by how much, and what to do."""

from __future__ import annotations

import pytest

from service.manifest import StepLatency
from service.rollout.plan.gate import Gate, describe_misses, find_misses, gate_conflict
from tests.support.fakes import evaluated, manifest_of

DIGEST = "f" * 64
FIGURES = {"phase-2": (0.366, 0.316, 0.411), "phase-3": (0.359, 0.313, 0.400)}


def version(name, report="its own", **more):
    """A manifest with the figures of `FIGURES`, or with `report`."""
    if report == "its own":
        report = evaluated(*FIGURES[name])
    return manifest_of(name, 8, DIGEST, evaluation=report, **more)


def step(p95):
    return StepLatency(
        steps=500, p50_ms=1.0, p95_ms=p95, precision="fp32", provider="CPU", machine="2 cores"
    )


STABLE, CANARY = version("phase-2"), version("phase-3")


def found(gate, stable=STABLE, canary=CANARY):
    return [
        (miss.figure, miss.wanted, miss.found and round(miss.found, 6))
        for miss in find_misses(Gate(**gate), stable, canary)
    ]


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ({}, []),
        ({"min_pool": 5000}, []),
        ({"min_hit5": 0.359}, []),
        ({"min_hit5": 0.36}, [("min_hit5", 0.36, 0.359)]),
        ({"min_hit5": 0.3, "min_pool": 1001}, [("min_pool", 1001, 1000)]),
        ({"non_inferiority_margin": 0.098}, []),
        ({"non_inferiority_margin": 0.097}, [("non_inferiority_margin", 0.097, -0.098)]),
        ({"max_step_p95_ms": 1.5}, [("max_step_p95_ms", 1.5, None)]),
        (
            {"min_hit5": 0.69, "non_inferiority_margin": 0, "max_step_p95_ms": 1},
            [
                ("min_hit5", 0.69, 0.359),
                ("non_inferiority_margin", 0, -0.098),
                ("max_step_p95_ms", 1, None),
            ],
        ),
    ],
)
def test_exactly_the_missed_criteria_are_named(gate, expected):
    """Wanted and found; at the limit itself nothing is missed. 0.313 − 0.411 = −0.098."""
    assert expected == found(gate)


@pytest.mark.parametrize(("p95", "misses"), [(1.5, 0), (1.51, 1)])
def test_the_step_latency_measured_at_export_is_compared(p95, misses):
    canary = version("phase-3", step_latency=step(p95))
    found = find_misses(Gate(max_step_p95_ms=1.5), STABLE, canary)
    assert misses == len(found)
    assert all("1.51 ms at P95 over 500 steps (fp32 on 2 cores)" in t.message for t in found)


def test_the_message_has_the_interval_and_the_pool():
    (miss,) = find_misses(Gate(min_hit5=0.69), STABLE, CANARY)
    assert (
        "phase-3's Hit@5 is 35.9 % [31.3, 40] on 1000 candidates (eras, random), 69 % required"
    ) == miss.message


@pytest.mark.parametrize(
    ("pool", "named"),
    [
        ({"size": 230}, "230 candidates"),
        ({"kind": "contiguous"}, "contiguous"),
        ({"seed": 1}, "seed 1"),
        ({"set": "latest"}, "latest"),
        ({"digest": "a" * 64}, "not evaluated on the same pool"),
    ],
)
def test_scores_of_different_pools_are_not_compared(pool, named):
    """However well the canary does on its own: a pool alone moves Hit@5 by points."""
    canary = version("phase-3", evaluated(0.7566, 0.70, 0.81, **pool))
    (miss,) = find_misses(Gate(non_inferiority_margin=0.5, min_pool=1), STABLE, canary)
    assert ("non_inferiority_margin", None) == (miss.figure, miss.found)
    assert named in miss.message
    assert "in one run of nextvec evaluate" in miss.message


def test_scores_on_different_data_are_not_compared():
    report = {**evaluated(0.9, 0.9, 0.9), "data": {"sha256": "a" * 64}}
    (miss,) = find_misses(Gate(non_inferiority_margin=0), STABLE, version("phase-3", report))
    assert "aaaaaaaaaaaa" in miss.message


def paired(low, metric="hit_at_5", other="0" * 64, window=8):
    """phase-3's report with its difference from phase-2, paired, in it."""
    return {
        **evaluated(*FIGURES["phase-3"]),
        "differences": [
            {
                "a": "phase-3",
                "b": "phase-2",
                "metric": metric,
                "difference": -0.007,
                "low": low,
                "high": 0.011,
                "b_checkpoint_sha256": other,
                "b_window": window,
            }
        ],
    }


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (paired(-0.025), []),
        (paired(-0.026), [("non_inferiority_margin", 0.025, -0.026)]),
        (paired(0.0, metric="mrr"), [("non_inferiority_margin", 0.025, -0.098)]),
        (paired(0.0, other="1" * 64), [("non_inferiority_margin", 0.025, -0.098)]),
        (paired(0.0, window=500), [("non_inferiority_margin", 0.025, -0.098)]),
    ],
)
def test_the_paired_difference_from_this_stable_version_counts(report, expected):
    """Its lower end is compared with the margin. Another version's or figure's is not used."""
    canary = version("phase-3", report)
    assert expected == found({"non_inferiority_margin": 0.025}, canary=canary)


def test_non_inferiority_holds_on_every_set_that_both_have():
    """A canary that is better on one and worse on the latest documents is held back."""
    latest = {"set": "latest", "digest": "b" * 64}
    stable = {**evaluated(0.3, 0.29, 0.31), "other_sets": [evaluated(0.2, 0.19, 0.21, **latest)]}
    canary = {**evaluated(0.5, 0.49, 0.51), "other_sets": [evaluated(0.1, 0.09, 0.11, **latest)]}
    (miss,) = find_misses(
        Gate(non_inferiority_margin=0.05), version("phase-2", stable), version("phase-3", canary)
    )
    assert -0.12 == round(miss.found, 6)
    assert "(latest, random)" in miss.message


def test_one_set_in_common_is_enough_to_compare():
    """A model trained on documents of one set has no figure there."""
    latest = {"set": "latest", "digest": "b" * 64}
    stable = {**evaluated(0.3, 0.29, 0.31), "other_sets": [evaluated(0.2, 0.19, 0.21, **latest)]}
    canary = evaluated(0.25, 0.24, 0.26, **latest)
    gate = Gate(non_inferiority_margin=0)
    assert () == find_misses(gate, version("phase-2", stable), version("phase-3", canary))


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (None, "has no evaluation report"),
        ({}, "cannot be read (data: Field required"),
        (
            {**evaluated(0.9, 0.9, 0.9), "score": {"window": 8}},
            "cannot be read (sets.0.scores.0.name",
        ),
        (evaluated(float("nan"), 0.9, 0.9), "cannot be read (sets.0.scores.0.hit_at_5.value"),
        (evaluated(0.9, 0.9, 0.9, window=500), "for another checkpoint or window"),
    ],
)
def test_a_missing_or_foreign_report_misses_every_figure(report, says):
    """It never passes. The same holds for stable's report."""
    found = find_misses(
        Gate(min_hit5=0.1, non_inferiority_margin=0.9), STABLE, version("phase-3", report)
    )
    assert ["min_hit5", "non_inferiority_margin"] == [miss.figure for miss in found]
    assert all(says in miss.message for miss in found)
    (miss,) = find_misses(Gate(non_inferiority_margin=0.9), version("phase-2", report), CANARY)
    assert miss.message.startswith("phase-2")
    assert says in miss.message


@pytest.mark.parametrize(
    ("given", "floor", "expected"),
    [
        ({}, {"min_hit5": 0.3}, {"min_hit5": 0.3}),
        ({"min_hit5": 0.2}, {"min_hit5": 0.3}, {"min_hit5": 0.3}),
        ({"min_hit5": 0.4}, {"min_hit5": 0.3}, {"min_hit5": 0.4}),
        (
            {"non_inferiority_margin": 0.2, "max_step_p95_ms": 5, "min_pool": 10},
            {"non_inferiority_margin": 0.1, "max_step_p95_ms": 9},
            {"non_inferiority_margin": 0.1, "max_step_p95_ms": 5, "min_pool": 1000},
        ),
    ],
)
def test_a_gate_with_a_floor_is_the_stricter_of_both(given, floor, expected):
    assert Gate(**expected) == Gate(**given).with_floor(Gate(**floor))


def test_the_conflict_has_a_message_for_people_and_figures_for_programs():
    misses = find_misses(Gate(min_hit5=0.69, max_step_p95_ms=1), STABLE, CANARY)
    error = gate_conflict("phase-3", misses)
    assert "gate_missed" == error.code
    assert describe_misses(misses) in str(error)
    assert [("min_hit5", 0.69, 0.359), ("max_step_p95_ms", 1.0, None)] == [
        (miss["figure"], miss["wanted"], miss["found"]) for miss in error.details["missed"]
    ]
