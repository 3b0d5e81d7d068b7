"""The gate: whether a canary's offline figures allow it any traffic. Pure.

The figures come from the versions' manifests, which the export writes. A score belongs to its
candidate pool. Two scores are compared only if both were measured among the same candidates at
the same positions, and a score from a smaller pool than the gate demands does not count. A
figure that is not in the manifest is a miss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from pydantic import Field, ValidationError

from service.errors import Conflict
from service.evaluation_report import Estimate, EvaluationReport, HeldOutSection
from service.manifest import Manifest
from service.rollout.analysis.guardrails.config import Count, Number, PlanModel
from service.validation_errors import first_error

_ROUNDING = 1e-9
_ONE_RUN = (
    "evaluate both versions in one run of nextvec evaluate and export each with its report, "
    "under a new name"
)


class Gate(PlanModel):
    """What the manifests must show before a canary is loaded. A field left out demands nothing."""

    min_hit5: Number | None = Field(
        None, gt=0, le=1, description="The canary's smallest allowed Hit@5, 0..1."
    )
    non_inferiority_margin: Number | None = Field(
        None,
        ge=0,
        lt=1,
        description="How much lower than stable's the canary's Hit@5 may be, 0..1.",
    )
    min_pool: Count = Field(
        1000, description="Smallest allowed number of candidates in the pool of a Hit@5."
    )
    max_step_p95_ms: Number | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="The canary's largest allowed P95 of one step in ms, measured at export.",
    )

    def with_floor(self, floor: Gate | None) -> Gate:
        """The stricter of this gate and `floor`, field by field."""
        if floor is None:
            return self
        return Gate(
            min_hit5=_pick(max, self.min_hit5, floor.min_hit5),
            non_inferiority_margin=_pick(
                min, self.non_inferiority_margin, floor.non_inferiority_margin
            ),
            min_pool=max(self.min_pool, floor.min_pool),
            max_step_p95_ms=_pick(min, self.max_step_p95_ms, floor.max_step_p95_ms),
        )


@dataclass(frozen=True, slots=True)
class GateMiss:
    """A criterion that the canary does not meet.

    `figure` is the gate's field. `found` is None if the manifest has no such figure.
    """

    figure: str
    wanted: float
    found: float | None
    message: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def find_misses(gate: Gate, stable: Manifest, canary: Manifest) -> tuple[GateMiss, ...]:
    """The criteria of `gate` that the canary's manifest does not meet, compared with stable's."""
    return tuple(_misses(gate, stable, canary))


def describe_misses(misses: tuple[GateMiss, ...]) -> str:
    """One text for all of them, for errors and the audit log."""
    return "; ".join(miss.message for miss in misses)


def gate_conflict(canary: str, misses: tuple[GateMiss, ...]) -> Conflict:
    """The error for a start that the gate does not allow."""
    return Conflict(
        f"{canary} fails the gate: {describe_misses(misses)}; "
        "an approver may start it with override_gate and a reason",
        "gate_missed",
        {"missed": [miss.to_json() for miss in misses]},
    )


@dataclass(frozen=True, slots=True)
class _HitAt5:
    """A version's Hit@5 on one held-out set."""

    section: HeldOutSection
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class _VersionScores:
    """A version's Hit@5 on every held-out set that it has a score on, at least one."""

    version: str
    checkpoint_sha256: str
    window: int
    data_sha256: str
    sets: tuple[_HitAt5, ...]


def _misses(gate: Gate, stable: Manifest, canary: Manifest) -> Iterator[GateMiss]:
    wanted_hit5, margin = gate.min_hit5, gate.non_inferiority_margin
    if wanted_hit5 is not None or margin is not None:
        scores = _scores(canary)
        if isinstance(scores, str):
            if wanted_hit5 is not None:
                yield GateMiss("min_hit5", wanted_hit5, None, scores)
            if margin is not None:
                yield GateMiss("non_inferiority_margin", margin, None, scores)
        else:
            if wanted_hit5 is not None:
                yield from _check_hit5(scores, wanted_hit5)
            if margin is not None:
                yield from _check_non_inferiority(scores, stable, margin)
            yield from _pool_too_small(scores, gate.min_pool)
    if gate.max_step_p95_ms is not None:
        yield from _check_step_p95(canary, gate.max_step_p95_ms)


def _scores(manifest: Manifest) -> _VersionScores | str:
    """The Hit@5 of the manifest's checkpoint and window; else what is wrong, and what to do."""
    version = manifest.version
    if manifest.evaluation is None:
        return (
            f"{version} has no evaluation report: run nextvec evaluate, then nextvec export "
            "--evaluation under a new name"
        )
    try:
        report = EvaluationReport.model_validate(manifest.evaluation)
    except ValidationError as error:
        return f"{version}'s evaluation report cannot be read ({first_error(error)}): {_ONE_RUN}"
    checkpoint = (manifest.source_sha256, manifest.context_window)
    scored = ((section, section.score_of(*checkpoint)) for section in report.sets)
    sets = tuple(
        _HitAt5(section, score.hit_at_5)
        for section, score in scored
        if score is not None and score.hit_at_5 is not None
    )
    if not sets:
        return f"{version}'s evaluation report is for another checkpoint or window: {_ONE_RUN}"
    return _VersionScores(version, *checkpoint, report.data.sha256, sets)


def _check_hit5(scores: _VersionScores, wanted: float) -> Iterator[GateMiss]:
    """Judged on the report's first set."""
    first = scores.sets[0]
    hit = first.estimate
    if hit.value < wanted:
        message = (
            f"{scores.version}'s Hit@5 is {_percent(hit.value)} % "
            f"[{_percent(hit.low)}, {_percent(hit.high)}] on {_candidates(first)}, "
            f"{_percent(wanted)} % required"
        )
        yield GateMiss("min_hit5", wanted, hit.value, message)


def _pool_too_small(scores: _VersionScores, wanted: int) -> Iterator[GateMiss]:
    size = scores.sets[0].section.pool.size
    if size < wanted:
        message = (
            f"{scores.version}'s Hit@5 was measured among {size} candidates, {wanted} required: "
            "a smaller pool alone raises Hit@5; evaluate again with a larger --pool"
        )
        yield GateMiss("min_pool", wanted, size, message)


def _check_non_inferiority(
    canary: _VersionScores, stable_manifest: Manifest, margin: float
) -> Iterator[GateMiss]:
    """Compare on each set that both versions have a score on; no such set is a miss."""
    stable = _scores(stable_manifest)
    if isinstance(stable, str):
        yield GateMiss("non_inferiority_margin", margin, None, stable)
        return
    pairs = [
        (ours, theirs)
        for ours in canary.sets
        for theirs in stable.sets
        if canary.data_sha256 == stable.data_sha256 and _same_pool(ours, theirs)
    ]
    if not pairs:
        message = (
            f"{canary.version} and {stable.version} were not evaluated on the same pool "
            f"({_describe_origin(canary)}; {_describe_origin(stable)}), so their Hit@5 cannot be "
            f"compared: {_ONE_RUN}"
        )
        yield GateMiss("non_inferiority_margin", margin, None, message)
    for ours, theirs in pairs:
        low, how = _lower_bound(ours, theirs, stable)
        if low < -margin - _ROUNDING:
            difference = ours.estimate.value - theirs.estimate.value
            message = (
                f"{canary.version}'s Hit@5 minus {stable.version}'s is {_points(difference)} "
                f"points, at least {_points(low)} {how}, on {_candidates(ours)}; at least "
                f"{_points(-margin)} required"
            )
            yield GateMiss("non_inferiority_margin", margin, low, message)


def _lower_bound(ours: _HitAt5, theirs: _HitAt5, stable: _VersionScores) -> tuple[float, str]:
    """The lower end of the difference's interval, and how it was computed.

    Without a paired difference, the ends of the two intervals bound it. That bound is wider,
    so it can fail a good canary but never pass a bad one.
    """
    for item in ours.section.differences:
        of_stable = (stable.checkpoint_sha256, stable.window)
        if item.metric == "hit_at_5" and (item.b_checkpoint_sha256, item.b_window) == of_stable:
            return item.low, "by the paired interval"
    return ours.estimate.low - theirs.estimate.high, "by the two intervals"


def _same_pool(ours: _HitAt5, theirs: _HitAt5) -> bool:
    """Whether both scores were measured among the same candidates at the same positions."""
    a, b = ours.section.pool, theirs.section.pool
    return (a.set, a.kind, a.size, a.seed, a.digest) == (b.set, b.kind, b.size, b.seed, b.digest)


def _candidates(scored: _HitAt5) -> str:
    pool = scored.section.pool
    return f"{pool.size} candidates ({pool.set}, {pool.kind})"


def _describe_origin(scores: _VersionScores) -> str:
    pools = " and ".join(f"{_candidates(one)}, seed {one.section.pool.seed}" for one in scores.sets)
    return f"{pools}, of data {scores.data_sha256[:12]}…"


def _check_step_p95(canary: Manifest, wanted: float) -> Iterator[GateMiss]:
    measured = canary.step_latency
    if measured is None:
        message = (
            f"{canary.version}'s step was not measured at export: export it with --step-latency, "
            "under a new name, on a machine like the one that serves"
        )
        yield GateMiss("max_step_p95_ms", wanted, None, message)
    elif measured.p95_ms > wanted:
        message = (
            f"{canary.version}'s step takes {measured.p95_ms:.3g} ms at P95 over {measured.steps} "
            f"steps ({measured.precision} on {measured.machine}), {wanted:.3g} ms required"
        )
        yield GateMiss("max_step_p95_ms", wanted, measured.p95_ms, message)


def _percent(share: float) -> str:
    return f"{100 * share:.4g}"


def _points(share: float) -> str:
    return f"{100 * share + 0.0:+.3g}"


def _pick(
    stricter: Callable[[float, float], float], a: float | None, b: float | None
) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return stricter(a, b)
