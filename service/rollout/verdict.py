"""What the latency guardrail says, in words and in numbers, with its arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from service.rollout.counts import percentile
from service.rollout.guardrail import (
    NAME,
    Condition,
    EProcess,
    Outcome,
    Rule,
    Tally,
    threshold,
)


@dataclass(frozen=True, slots=True)
class StratumReport:
    """One request mode, for people. Durations in seconds; None where there is no figure.

    `tau` is the edge that the next look compares stable with. `canary` and
    `stable` count the requests judged in this step.
    """

    mode: str
    tau: float | None
    canary: int
    stable: int
    canary_slow: int
    stable_slow: int
    canary_faults: int
    stable_faults: int
    canary_p95: float | None
    stable_p95: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`log_fail` and `log_pass` are ln E; a verdict falls at `bound`, ln(1/alpha).

    `canary`, `stable`: requests judged in this step. `ratio` and the percentiles
    are those of the mode with the most evidence, as point estimates for people.
    """

    outcome: Outcome
    message: str
    threshold: float
    bound: float
    log_fail: float = 0.0
    log_pass: float = 0.0
    canary: int = 0
    stable: int = 0
    canary_p95: float | None = None
    stable_p95: float | None = None
    strata: tuple[StratumReport, ...] = ()
    name: str = NAME

    @property
    def ratio(self) -> float | None:
        if self.canary_p95 is None or self.stable_p95 is None:
            return None
        return self.canary_p95 / self.stable_p95

    def to_json(self) -> dict[str, object]:
        """As in the status and the audit log."""
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "message": self.message,
            "ratio": self.ratio,
            "threshold": self.threshold,
            "log_evidence": {"fail": self.log_fail, "pass": self.log_pass, "bound": self.bound},
            "samples": {"canary": self.canary, "stable": self.stable},
            "p95_seconds": {"canary": self.canary_p95, "stable": self.stable_p95},
            "strata": [
                {
                    "mode": s.mode,
                    "tau_seconds": s.tau,
                    "samples": {"canary": s.canary, "stable": s.stable},
                    "slow": {"canary": s.canary_slow, "stable": s.stable_slow},
                    "faults": {"canary": s.canary_faults, "stable": s.stable_faults},
                    "p95_seconds": {"canary": s.canary_p95, "stable": s.stable_p95},
                }
                for s in self.strata
            ],
        }


def assess(test: EProcess, rule: Rule) -> Verdict:
    """The verdict of all looks so far. A fail outweighs a pass."""
    reports = tuple(_report(mode, test, rule) for mode in sorted(test.strata))
    fail, good = test.log_fail(), test.log_pass()
    if fail >= rule.bound:
        outcome, words = Outcome.FAIL, f"ln E = {fail:.2f} ≥ {_bound(rule)}"
    elif test.peak >= rule.bound:
        outcome, words = Outcome.PASS, f"ln E reached {test.peak:.2f} ≥ {_bound(rule)}"
    else:
        outcome = Outcome.INCONCLUSIVE
        words = f"ln E = {fail:.2f} for a fail and {good:.2f} for a pass, {_bound(rule)} wanted"
    # The fail side counts over the whole rollout, the pass side over the step.
    tallies = {
        mode: stratum.rollout if outcome is Outcome.FAIL else stratum.step
        for mode, stratum in sorted(test.strata.items())
    }
    after = (
        f"after {sum(t.canary for t in tallies.values())} canary "
        f"and {sum(t.stable for t in tallies.values())} stable requests"
    )
    clauses = [_clause(mode, test, rule, tally) for mode, tally in tallies.items()]
    main = max(reports, key=lambda s: min(s.canary, s.stable), default=None)
    return Verdict(
        outcome=outcome,
        message="; ".join([f"{outcome}: {words} {after}", *filter(None, clauses)]),
        threshold=rule.ratio,
        bound=rule.bound,
        log_fail=fail,
        log_pass=good,
        canary=sum(s.canary for s in reports),
        stable=sum(s.stable for s in reports),
        canary_p95=main.canary_p95 if main else None,
        stable_p95=main.stable_p95 if main else None,
        strata=reports,
    )


def unreadable(message: str, rule: Rule) -> Verdict:
    """The evidence could not be read or judged: neither a pass nor a fail."""
    return Verdict(Outcome.ERROR, f"error: {message}", rule.ratio, rule.bound)


def _report(mode: str, test: EProcess, rule: Rule) -> StratumReport:
    stratum = test.strata[mode]
    tau = threshold(stratum, test.edges, rule)
    return StratumReport(
        mode=mode,
        tau=test.edges[tau] if isinstance(tau, int) else None,
        canary=stratum.step.canary,
        stable=stratum.step.stable,
        canary_slow=stratum.step.canary_marked,
        stable_slow=stratum.step.stable_marked,
        canary_faults=stratum.step.canary_faults,
        stable_faults=stratum.step.stable_faults,
        canary_p95=percentile(stratum.seen.canary, test.edges, rule.quantile),
        stable_p95=percentile(stratum.seen.stable, test.edges, rule.quantile),
    )


def _clause(mode: str, test: EProcess, rule: Rule, tally: Tally) -> str:
    """What one mode showed, and what it waits for; empty if it saw nothing."""
    stratum = test.strata[mode]
    total = sum(stratum.window)
    if not total and not tally.canary:
        return ""
    faults = f"{tally.canary_faults} canary and {tally.stable_faults} stable ones failed"
    tau = threshold(stratum, test.edges, rule)
    if tau is Condition.BASELINE:
        return (
            f"{mode}: τ waits for {total:.0f} of {rule.baseline_samples} stable requests; {faults}"
        )
    if tau is Condition.SATURATED:
        top = _seconds(test.edges[-1])
        return (
            f"{mode}: stable's P{rule.quantile * 100:g} is too near the top bucket, {top}; {faults}"
        )
    assert isinstance(tau, int)
    slow, edge = _seconds(test.edges[tau + rule.apart]), _seconds(test.edges[tau])
    return (
        f"{mode}: {tally.canary_marked} canary requests were slower than {rule.ratio:g}·τ = {slow} "
        f"or failed, against {tally.stable_marked} stable ones slower than τ = {edge} or failed; "
        f"{faults}"
    )


def _bound(rule: Rule) -> str:
    return f"ln(1/{rule.alpha:g}) = {rule.bound:.2f}"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
