"""The quality guardrail's arithmetic, with literals."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.rollout.analysis.counters import Counters, KeyCounts, KeyCountsByArm
from service.rollout.analysis.e_process import EvidenceBounds
from service.rollout.analysis.guardrails.config import QualityConfig
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.quality import (
    BETS,
    PRIOR,
    QualityGuardrail,
    QualityState,
    _against,
    _in_favour,
)
from service.rollout.analysis.verdict import VerdictOutcome
from service.types import SHARES

QUALITY = QualityGuardrail("quality", EvidenceBounds(0.01, 0.01), QualityConfig())


def keys(**by_share: int) -> KeyCounts:
    """`keys(none=3, half=1, all=2)`."""
    wanted = {"none": 0.0, "half": 0.5, "all": 1.0}
    counts = [0] * len(SHARES)
    for name, count in by_share.items():
        counts[SHARES.index(wanted[name])] = count
    return KeyCounts(tuple(counts))


def look(stable=None, canary=None, **how) -> Measurement:
    return Measurement(
        Counters(keys=KeyCountsByArm(stable or KeyCounts(), canary or KeyCounts())), **how
    )


def looked(test, *looks, guardrail=QUALITY):
    for one in looks:
        test = guardrail.look(test, one)
    return test


GOOD = look(keys(none=4, all=15), keys(all=1))
BAD = look(keys(none=4, all=15), keys(none=1))


def test_one_look_is_the_formula():
    """Of 10 stable keys 6 had all hits, of 2 canary keys one; theta is the prior's 0.4."""
    test = looked(QUALITY.begin(), look(keys(none=4, all=6), keys(none=1, all=1)))

    def fail(part):
        bet = part * min(1 / 0.6, 1 / (0.2 * 0.4))
        canary = (1 + bet * 0.4) * (1 - bet * 0.6)
        return canary * (1 + 0.2 * bet * 0.4) ** 6 * (1 - 0.2 * bet * 0.4) ** 4

    def good(part):
        bet = part * min(1 / 0.4, 1 / (0.2 * 0.4))
        canary = (1 - bet * 0.4) * (1 + bet * 0.6)
        return canary * (1 - 0.2 * bet * 0.4) ** 6 * (1 + 0.2 * bet * 0.4) ** 4

    mean = sum(map(good, BETS)) / len(BETS)
    assert math.log(mean) == pytest.approx(test.wager.log_pass())
    # The wager's stakes: 3/4 at the start, half of an eighth for this look, the rest held.
    mean = sum(map(fail, BETS)) / len(BETS)
    assert math.log((0.75 + 0.0625) * mean + 0.1875) == pytest.approx(test.wager.log_fail())


@pytest.mark.parametrize("theta", [0.05, 0.4, 0.75])
@pytest.mark.parametrize("stable_mean", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("canary_keys", "stable_keys"), [(1, 1), (1, 3), (3, 1)])
@pytest.mark.parametrize("part", BETS)
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
        against += chance * math.exp(_against(arms, part, theta, kept))
        favour += chance * math.exp(_in_favour(arms, part, theta, kept))
    assert against <= 1 + 1e-12
    assert favour <= 1 + 1e-12


shares = st.lists(st.integers(0, 40), min_size=len(SHARES), max_size=len(SHARES)).map(
    lambda counts: KeyCounts(tuple(counts))
)
arms = st.builds(KeyCountsByArm, shares, shares)


@given(st.lists(arms, min_size=1, max_size=6), st.floats(0.05, 0.99))
def test_it_never_breaks_and_never_says_both(seen, kept):
    """Whatever the keys: finite figures, and no evidence for a pass and a fail at once."""
    guardrail = QualityGuardrail("quality", EvidenceBounds(0.01, 0.01), QualityConfig(kept=kept))
    test = guardrail.begin()
    for new in seen:
        test = guardrail.look(test, Measurement(Counters(keys=new)))
        assert math.isfinite(test.wager.log_fail())
        assert math.isfinite(test.wager.log_pass())
        assert guardrail.assess(test).message
    assert test.wager.log_fail() < 4.6 or test.wager.log_pass() < 4.6


@given(arms, st.integers(0, len(SHARES) - 1))
def test_a_better_canary_never_looks_worse(new, at):
    """One more of its keys with nothing but hits, in place of one with fewer."""
    if not (new.canary.counts[at] and new.stable.total):
        return
    counts = list(new.canary.counts)
    counts[at] -= 1
    counts[-1] += 1
    better = KeyCountsByArm(new.stable, KeyCounts(tuple(counts)))
    for part in BETS:
        assert _against(better, part, 0.5, 0.8) <= _against(new, part, 0.5, 0.8) + 1e-9
        assert _in_favour(better, part, 0.5, 0.8) >= _in_favour(new, part, 0.5, 0.8) - 1e-9


def test_a_canary_without_hits_fails_in_words_and_numbers():
    test = looked(QUALITY.begin(), *[BAD] * 12)
    said = QUALITY.assess(test)
    assert VerdictOutcome.FAIL is said.outcome
    assert said.log_fail >= said.fail_bound
    assert (
        "after 12 canary and 228 stable keys; Hit@5 is 0.0 % on the canary "
        "and 78.9 % on stable, of which 0.8 must be kept"
    ) in said.message
    assert (12, 228, "keys", 0.0) == (said.canary, said.stable, said.unit, said.ratio)
    assert 0.8 == said.threshold


def test_one_as_good_passes():
    mixed = [GOOD, GOOD, GOOD, GOOD, BAD]
    test = looked(QUALITY.begin(), *mixed * 40)
    assert VerdictOutcome.PASS is QUALITY.assess(test).outcome


def test_one_look_never_decides():
    """However many keys it has."""
    once = looked(QUALITY.begin(), look(keys(all=2000), keys(none=2000)))
    assert VerdictOutcome.INCONCLUSIVE is QUALITY.assess(once).outcome
    twice = looked(once, look(keys(all=2000), keys(none=2000)))
    assert VerdictOutcome.FAIL is QUALITY.assess(twice).outcome


@pytest.mark.parametrize(
    "nothing",
    [
        look(),
        look(stable=keys(all=100)),
        look(canary=keys(none=100)),
        look(keys(all=100), keys(none=100), alone=True),
    ],
    ids=["no keys", "no canary keys", "no stable keys", "no stable arm"],
)
def test_without_both_arms_it_holds(nothing):
    """No data neither passes nor fails."""
    test = looked(QUALITY.begin(), *[nothing] * 50)
    assert QUALITY.begin().wager == test.wager
    assert VerdictOutcome.INCONCLUSIVE is QUALITY.assess(test).outcome


def test_a_step_is_tested_by_itself_at_its_share_of_alpha():
    """The same keys speak again: what was against the canary is not counted twice."""
    test = QUALITY.begin()
    bounds = []
    for _ in range(3):
        test = looked(test, *[BAD] * 5)
        bounds.append(QUALITY.assess(test).fail_bound)
        test = test.next_step()
        assert QUALITY.begin().wager == test.wager
        assert KeyCountsByArm() == test.keys
    assert [math.log(n / 0.01) for n in (4 / 3, 8, 24)] == pytest.approx(bounds)


def test_a_step_without_keys_spends_nothing():
    """As a shadow step, whose canary answers nobody."""
    assert QUALITY.begin() == looked(QUALITY.begin(), look()).next_step()


def test_a_restart_counts_as_one_more_step_if_keys_had_spoken():
    """They may all speak again."""
    spoken = looked(QUALITY.begin(), *[BAD] * 5)
    again = looked(spoken, look(restarted=True))
    assert QualityState(1) == again
    assert QualityState(0) == looked(QUALITY.begin(), look(restarted=True))


def test_theta_is_known_before_the_look():
    """The first look uses the prior alone, the second one the first."""
    first = looked(QUALITY.begin(), look(keys(all=4), keys(all=1)))
    second = looked(first, look(keys(all=4), keys(all=1)))
    new = KeyCountsByArm(keys(all=4), keys(all=1))
    theta = 0.8 * (PRIOR[0] + 4) / (PRIOR[1] + 4)
    added = [b - a for a, b in zip(first.wager.passing, second.wager.passing, strict=True)]
    assert [_in_favour(new, part, theta, 0.8) for part in BETS] == pytest.approx(added)


@pytest.mark.parametrize(
    ("required", "looks", "binding"),
    [
        ("with_evidence", 9, False),
        ("with_evidence", 10, True),
        (False, 10, False),
        (True, 10, False),
    ],
)
def test_it_binds_once_enough_keys_have_spoken(required, looks, binding):
    """Stateless traffic without labels says nothing, and must not hold a rollout."""
    figures = QualityConfig(required=required, enough_keys=10)
    guardrail = QualityGuardrail("quality", EvidenceBounds(0.01, 0.01), figures)
    test = looked(guardrail.begin(), *[GOOD] * looks, guardrail=guardrail)
    assert binding is guardrail.assess(test).binding


def test_its_memory_survives_json():
    adapter = TypeAdapter(QualityState)
    test = looked(QUALITY.begin(), GOOD, BAD).next_step()
    test = looked(test, BAD, GOOD)
    assert test == adapter.validate_json(adapter.dump_json(test), strict=True)
