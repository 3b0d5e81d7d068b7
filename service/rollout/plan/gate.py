"""Whether a canary's offline figures let it have traffic at all. Pure.

The figures are those in the versions' manifests, put there at export. A score
belongs to its pool: two are compared only where both were taken from the same
candidates at the same positions, and one that was taken from fewer candidates
than the gate wants counts for nothing. A figure that is not there is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from service.errors import Conflict
from service.manifest import Manifest

_ROUNDING = 1e-9
_ONE_RUN = (
    "evaluate both versions in one run of nextvec evaluate and export each with its report, "
    "under a new name"
)


class Gate(BaseModel):
    """What the manifests must show before a canary is loaded. A field left out asks nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_hit5: float | None = Field(None, gt=0, le=1, description="canary's Hit@5, 0..1, at least")
    non_inferiority_margin: float | None = Field(
        None, ge=0, lt=1, description="Hit@5, 0..1, that the canary may lose to stable at most"
    )
    min_pool: PositiveInt = Field(
        1000, description="candidates that a Hit@5 must have been picked from, at least"
    )
    max_step_p95_ms: PositiveFloat | None = Field(
        None, description="canary's P95 of one step, as measured at export, at most"
    )

    def with_floor(self, floor: Gate | None) -> Gate:
        """This gate where it is the stricter, `floor` where that is."""
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
    """One figure that the gate wants and the canary has not. `figure` is the gate's
    field; `found` is None where there is no figure."""

    figure: str
    wanted: float
    found: float | None
    message: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def find_misses(gate: Gate, stable: Manifest, canary: Manifest) -> tuple[GateMiss, ...]:
    """Every figure of `gate` that the canary's manifest, beside stable's, does not show."""
    return tuple(_misses(gate, stable, canary))


def describe_misses(misses: tuple[GateMiss, ...]) -> str:
    """All of them, as a refusal and the audit log tell them."""
    return "; ".join(miss.message for miss in misses)


def gate_conflict(canary: str, misses: tuple[GateMiss, ...]) -> Conflict:
    """The answer to a start that is held back."""
    return Conflict(
        f"the gate holds {canary} back: {describe_misses(misses)}; "
        "an approver may start it all the same with override_gate and a reason",
        "gate_missed",
        {"missed": [miss.to_json() for miss in misses]},
    )


class _Read(BaseModel):
    """Of the report only what the gate needs; it may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class _Figure(_Read):
    value: float
    low: float
    high: float


class _Score(_Read):
    window: int
    checkpoint_sha256: str
    hit_at_5: _Figure


class _Pool(_Read):
    kind: str
    size: int
    seed: int
    set: str = "held out"
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.size} candidates ({self.set}, {self.kind})"


class _Difference(_Read):
    """This version's figure less that of `b`, paired position by position."""

    metric: str
    difference: float
    low: float
    high: float
    b_checkpoint_sha256: str | None
    b_window: int | None


class _Set(_Read):
    """One held-out set's part of the report."""

    pool: _Pool
    score: _Score
    differences: tuple[_Difference, ...] = ()


class _Data(_Read):
    sha256: str


class _Evaluation(_Set):
    """What `nextvec export --evaluation` puts into the manifest: its first set, and others."""

    data: _Data
    other_sets: tuple[_Set, ...] = ()

    @property
    def sets(self) -> tuple[_Set, ...]:
        return (self, *self.other_sets)


def _misses(gate: Gate, stable: Manifest, canary: Manifest) -> Iterator[GateMiss]:
    asked = {
        "min_hit5": gate.min_hit5,
        "non_inferiority_margin": gate.non_inferiority_margin,
    }
    found = _evaluation(canary)
    for figure, wanted in asked.items():
        if wanted is None:
            continue
        if isinstance(found, str):
            yield GateMiss(figure, wanted, None, found)
        elif figure == "min_hit5":
            yield from _too_low(found, canary.version, wanted)
        else:
            yield from _inferior(found, stable, canary.version, wanted)
    if isinstance(found, _Evaluation) and any(wanted is not None for wanted in asked.values()):
        yield from _pool_too_small(found, canary.version, gate.min_pool)
    if gate.max_step_p95_ms is not None:
        yield from _too_slow(canary, gate.max_step_p95_ms)


def _evaluation(manifest: Manifest) -> _Evaluation | str:
    """The report on this very checkpoint and window; else what is wrong, and what to do."""
    version = manifest.version
    if manifest.evaluation is None:
        return (
            f"{version} carries no evaluation report: run nextvec evaluate, then nextvec export "
            "--evaluation under a new name"
        )
    try:
        found = _Evaluation.model_validate(manifest.evaluation)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{version}'s evaluation report cannot be read ({place}: {first['msg']}): {_ONE_RUN}"
    score = found.score
    if (score.checkpoint_sha256, score.window) != (manifest.source_sha256, manifest.context_window):
        return f"{version}'s evaluation report is of another checkpoint or window: {_ONE_RUN}"
    return found


def _too_low(found: _Evaluation, version: str, wanted: float) -> Iterator[GateMiss]:
    figure = found.score.hit_at_5
    if figure.value < wanted:
        words = (
            f"{version}'s Hit@5 is {_percent(figure.value)} % "
            f"[{_percent(figure.low)}, {_percent(figure.high)}] on {found.pool}, "
            f"{_percent(wanted)} % wanted"
        )
        yield GateMiss("min_hit5", wanted, figure.value, words)


def _pool_too_small(found: _Evaluation, version: str, wanted: int) -> Iterator[GateMiss]:
    size = found.pool.size
    if size < wanted:
        words = (
            f"{version}'s Hit@5 was picked from {size} candidates, {wanted} wanted: fewer of them "
            "alone make it higher; evaluate again with a larger --pool"
        )
        yield GateMiss("min_pool", wanted, size, words)


def _inferior(
    canary: _Evaluation, stable_manifest: Manifest, version: str, margin: float
) -> Iterator[GateMiss]:
    """On each set that both were scored on; on none is a miss as well."""
    stable = _evaluation(stable_manifest)
    if isinstance(stable, str):
        yield GateMiss("non_inferiority_margin", margin, None, stable)
        return
    pairs = [(a, b) for a in canary.sets for b in stable.sets if _same(canary, stable, a, b)]
    if not pairs:
        words = (
            f"{version} and {stable_manifest.version} were not evaluated on the same pool "
            f"({_origin(canary)}; {_origin(stable)}), so that their Hit@5 cannot be compared: "
            f"{_ONE_RUN}"
        )
        yield GateMiss("non_inferiority_margin", margin, None, words)
    for ours, theirs in pairs:
        low, how = _lowest(ours, theirs)
        if low < -margin - _ROUNDING:
            difference = ours.score.hit_at_5.value - theirs.score.hit_at_5.value
            words = (
                f"{version}'s Hit@5 less {stable_manifest.version}'s is {_points(difference)} "
                f"points, {how} no less than {_points(low)}, on {ours.pool}; no less than "
                f"{_points(-margin)} wanted"
            )
            yield GateMiss("non_inferiority_margin", margin, low, words)


def _lowest(ours: _Set, theirs: _Set) -> tuple[float, str]:
    """The lower end of the difference's interval, and how it was come by.

    Without a paired difference the ends of the two intervals bound it: wider than it
    need be, so that a pass is never owed to it.
    """
    stable = (theirs.score.checkpoint_sha256, theirs.score.window)
    for item in ours.differences:
        if item.metric == "hit_at_5" and (item.b_checkpoint_sha256, item.b_window) == stable:
            return item.low, "by the paired interval"
    return ours.score.hit_at_5.low - theirs.score.hit_at_5.high, "by the two intervals"


def _same(canary: _Evaluation, stable: _Evaluation, ours: _Set, theirs: _Set) -> bool:
    """Whether both scores were taken from the same candidates at the same positions."""
    return canary.data.sha256 == stable.data.sha256 and ours.pool == theirs.pool


def _origin(found: _Evaluation) -> str:
    pools = " and ".join(f"{one.pool}, seed {one.pool.seed}" for one in found.sets)
    return f"{pools}, of data {found.data.sha256[:12]}…"


def _too_slow(canary: Manifest, wanted: float) -> Iterator[GateMiss]:
    measured = canary.step_latency
    if measured is None:
        words = (
            f"{canary.version}'s step was not measured at export: export it with --step-latency, "
            "under a new name, on a machine like the one that serves"
        )
        yield GateMiss("max_step_p95_ms", wanted, None, words)
    elif measured.p95_ms > wanted:
        words = (
            f"{canary.version}'s step takes {measured.p95_ms:.3g} ms at P95 over {measured.steps} "
            f"steps ({measured.precision} on {measured.machine}), {wanted:.3g} ms wanted"
        )
        yield GateMiss("max_step_p95_ms", wanted, measured.p95_ms, words)


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
