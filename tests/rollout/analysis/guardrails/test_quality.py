"""The quality guardrail's arithmetic, with literals."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.rollout.analysis.counters import Counters, KeyCounts, KeyCountsByArm
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.quality import (
    BET_SIZES,
    PRIOR,
    QualityGuardrail,
    QualityState,
    _fail_factor,
    _pass_factor,
)
from service.rollout.analysis.verdict import VerdictOutcome
from service.types import SHARES
from tests.support.guardrails import make_guardrail

QUALITY = make_guardrail(QualityGuardrail)


def keys(**by_share: int) -> KeyCounts:
    """`keys(none=3, half=1, all=2)`."""
    share_of = {"none": 0.0, "half": 0.5, "all": 1.0}
    counts = [0] * len(SHARES)
    for name, count in by_share.items():
        counts[SHARES.index(share_of[name])] = count
    return KeyCounts(tuple(counts))


def measurement(stable=None, canary=None, **how) -> Measurement:
    return Measurement(
        Counters(keys=KeyCountsByArm(stable or KeyCounts(), canary or KeyCounts())), **how
    )


def updated(state, *runs, guardrail=QUALITY):
    for one in runs:
        state = guardrail.update(state, one)
    return state


GOOD = measurement(keys(none=4, all=15), keys(all=1))
BAD = measurement(keys(none=4, all=15), keys(none=1))


def test_one_run_is_the_formula():
    """Of 10 stable keys 6 had all hits, of 2 canary keys one; theta is the prior's 0.4."""
    state = updated(
        QUALITY.initial_state({}), measurement(keys(none=4, all=6), keys(none=1, all=1))
    )

    def fail(part):
        bet = part * min(1 / 0.6, 1 / (0.2 * 0.4))
        canary = (1 + bet * 0.4) * (1 - bet * 0.6)
        return canary * (1 + 0.2 * bet * 0.4) ** 6 * (1 - 0.2 * bet * 0.4) ** 4

    def good(part):
        bet = part * min(1 / 0.4, 1 / (0.2 * 0.4))
        canary = (1 - bet * 0.4) * (1 + bet * 0.6)
        return canary * (1 - 0.2 * bet * 0.4) ** 6 * (1 + 0.2 * bet * 0.4) ** 4

    mean = sum(map(good, BET_SIZES)) / len(BET_SIZES)
    assert math.log(mean) == pytest.approx(state.e_process.log_pass())
    # Stakes: 3/4 at the start, half of an eighth for this run; the rest is reserved.
    mean = sum(map(fail, BET_SIZES)) / len(BET_SIZES)
    assert math.log((0.75 + 0.0625) * mean + 0.1875) == pytest.approx(state.e_process.log_fail())


@pytest.mark.parametrize("theta", [0.05, 0.4, 0.75])
@pytest.mark.parametrize("stable_mean", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("canary_keys", "stable_keys"), [(1, 1), (1, 3), (3, 1)])
@pytest.mark.parametrize("part", BET_SIZES)
def test_a_factor_has_a_mean_of_one_at_most_at_the_boundary(
    part, canary_keys, stable_keys, stable_mean, theta
):
    """Over all outcomes of keys that hit with everything or with nothing: whatever theta is."""
    kept = 0.8
    canary_mean = kept * stable_mean
    against = favour = 0.0
    for outcome in product((0, 1), repeat=canary_keys + stable_keys):
        canary, stable = sum(outcome[:canary_keys]), sum(outcome[canary_keys:])
        arms = KeyCountsByArm(
            keys(none=stable_keys - stable, all=stable), keys(none=canary_keys - canary, all=canary)
        )
        chance = (
            canary_mean**canary
            * (1 - canary_mean) ** (canary_keys - canary)
            * stable_mean**stable
            * (1 - stable_mean) ** (stable_keys - stable)
        )
        against += chance * math.exp(_fail_factor(arms, part, theta, kept))
        favour += chance * math.exp(_pass_factor(arms, part, theta, kept))
    assert against <= 1 + 1e-12
    assert favour <= 1 + 1e-12


shares = st.lists(st.integers(0, 40), min_size=len(SHARES), max_size=len(SHARES)).map(
    lambda counts: KeyCounts(tuple(counts))
)
arms = st.builds(KeyCountsByArm, shares, shares)


@given(st.lists(arms, min_size=1, max_size=6), st.floats(0.05, 0.99))
def test_any_keys_give_finite_evidence_for_at_most_one_verdict(seen, kept):
    """Never for a pass and a fail at once."""
    guardrail = make_guardrail(QualityGuardrail, kept=kept)
    state = guardrail.initial_state({})
    for new in seen:
        state = guardrail.update(state, Measurement(Counters(keys=new)))
        assert math.isfinite(state.e_process.log_fail())
        assert math.isfinite(state.e_process.log_pass())
        assert guardrail.assess(state).message
    assert state.e_process.log_fail() < 4.6 or state.e_process.log_pass() < 4.6


@given(arms, st.integers(0, len(SHARES) - 1))
def test_a_better_canary_never_looks_worse(new, at):
    """If one of its keys gets only hits instead of fewer."""
    if not (new.canary.counts[at] and new.stable.total):
        return
    counts = list(new.canary.counts)
    counts[at] -= 1
    counts[-1] += 1
    better = KeyCountsByArm(new.stable, KeyCounts(tuple(counts)))
    for part in BET_SIZES:
        assert _fail_factor(better, part, 0.5, 0.8) <= _fail_factor(new, part, 0.5, 0.8) + 1e-9
        assert _pass_factor(better, part, 0.5, 0.8) >= _pass_factor(new, part, 0.5, 0.8) - 1e-9


def test_a_canary_without_hits_fails_with_its_arithmetic():
    state = updated(QUALITY.initial_state({}), *[BAD] * 12)
    verdict = QUALITY.assess(state)
    assert VerdictOutcome.FAIL is verdict.outcome
    assert verdict.log_fail >= verdict.fail_bound
    assert (
        "after 12 canary and 228 stable keys; Hit@5: canary 0 %, stable 78.9 %, "
        "the canary must keep 80 % of stable's"
    ) in verdict.message
    assert (12, 228, "keys", 0.0) == (verdict.canary, verdict.stable, verdict.unit, verdict.ratio)
    assert 0.8 == verdict.threshold


def test_an_equal_canary_passes():
    mixed = [GOOD, GOOD, GOOD, GOOD, BAD]
    state = updated(QUALITY.initial_state({}), *mixed * 40)
    assert VerdictOutcome.PASS is QUALITY.assess(state).outcome


def test_one_run_never_decides():
    """However many keys it has."""
    once = updated(QUALITY.initial_state({}), measurement(keys(all=2000), keys(none=2000)))
    assert VerdictOutcome.INCONCLUSIVE is QUALITY.assess(once).outcome
    twice = updated(once, measurement(keys(all=2000), keys(none=2000)))
    assert VerdictOutcome.FAIL is QUALITY.assess(twice).outcome


@pytest.mark.parametrize(
    "nothing",
    [
        measurement(),
        measurement(stable=keys(all=100)),
        measurement(canary=keys(none=100)),
        measurement(keys(all=100), keys(none=100), canary_only=True),
    ],
    ids=["no keys", "no canary keys", "no stable keys", "no stable arm"],
)
def test_without_both_arms_there_is_no_evidence(nothing):
    """No data neither passes nor fails."""
    state = updated(QUALITY.initial_state({}), *[nothing] * 50)
    assert QUALITY.initial_state({}).e_process == state.e_process
    assert VerdictOutcome.INCONCLUSIVE is QUALITY.assess(state).outcome


def test_a_step_is_tested_by_itself_at_its_share_of_alpha():
    """The same keys count again, so the evidence of earlier steps is not carried over."""
    state = QUALITY.initial_state({})
    bounds = []
    for _ in range(3):
        state = updated(state, *[BAD] * 5)
        bounds.append(QUALITY.assess(state).fail_bound)
        state = state.next_step()
        assert QUALITY.initial_state({}).e_process == state.e_process
        assert KeyCountsByArm() == state.keys
    assert [math.log(n / 0.01) for n in (4 / 3, 8, 24)] == pytest.approx(bounds)


def test_a_step_without_keys_spends_nothing():
    """Such as a shadow step."""
    assert (
        QUALITY.initial_state({}) == updated(QUALITY.initial_state({}), measurement()).next_step()
    )


def test_a_restart_counts_as_one_more_step_if_keys_were_scored():
    """All keys may count again."""
    scored = updated(QUALITY.initial_state({}), *[BAD] * 5)
    again = updated(scored, measurement(restarted=True))
    assert QualityState(1) == again
    assert QualityState(0) == updated(QUALITY.initial_state({}), measurement(restarted=True))


def test_theta_is_known_before_the_run():
    """The first run uses the prior alone, the second one the first."""
    first = updated(QUALITY.initial_state({}), measurement(keys(all=4), keys(all=1)))
    second = updated(first, measurement(keys(all=4), keys(all=1)))
    new = KeyCountsByArm(keys(all=4), keys(all=1))
    theta = 0.8 * (PRIOR[0] + 4) / (PRIOR[1] + 4)
    added = [b - a for a, b in zip(first.e_process.passing, second.e_process.passing, strict=True)]
    assert [_pass_factor(new, part, theta, 0.8) for part in BET_SIZES] == pytest.approx(added)


@pytest.mark.parametrize(
    ("required", "runs", "binding"),
    [
        ("with_evidence", 9, False),
        ("with_evidence", 10, True),
        (False, 10, False),
        (True, 10, False),
    ],
)
def test_it_binds_once_enough_keys_are_scored(required, runs, binding):
    """Stateless traffic without labels gives no evidence and must not hold a rollout."""
    guardrail = make_guardrail(QualityGuardrail, required=required, enough_keys=10)
    state = updated(guardrail.initial_state({}), *[GOOD] * runs, guardrail=guardrail)
    assert binding is guardrail.assess(state).binding


def test_its_state_survives_json():
    adapter = TypeAdapter(QualityState)
    state = updated(QUALITY.initial_state({}), GOOD, BAD).next_step()
    state = updated(state, BAD, GOOD)
    assert state == adapter.validate_json(adapter.dump_json(state, by_alias=True), strict=True)
