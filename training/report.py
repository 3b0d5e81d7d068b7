"""An evaluation's report: one pool a held-out set, every model beside the rules it has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from corpora.candidate_pool import CandidatePool
from training.bootstrap import INTERVAL, Figure
from training.scores import METRICS, Difference

SCHEMA = 2


@dataclass(frozen=True)
class Row:
    """One line of the table. A model has a window and its checkpoint's digest; a rule neither.

    `seen` are the set's documents that the model was trained on, None where its checkpoint
    does not say. `figures` is None where they were withheld for that.
    """

    name: str
    figures: dict[str, Figure] | None
    window: int | None = None
    checkpoint_sha256: str | None = None
    seen: tuple[str, ...] | None = ()

    @property
    def kind(self) -> str:
        return "baseline" if self.checkpoint_sha256 is None else "model"

    @property
    def held_out(self) -> bool | None:
        return None if self.seen is None else not self.seen


@dataclass(frozen=True)
class Data:
    """What was evaluated on."""

    file: str
    sha256: str
    vectors: int
    documents: int


@dataclass(frozen=True)
class SetReport:
    """One held-out set: its pool, and rows that can be compared because they share it."""

    name: str
    description: str
    documents: tuple[str, ...]
    vectors: int
    pool: CandidatePool
    pool_digest: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Report:
    """Every set, on the same data."""

    data: Data
    sets: tuple[SetReport, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "schema_version": SCHEMA,
            "data": vars(self.data),
            "interval": INTERVAL,
            "sets": [_set_json(report, self.data.sha256) for report in self.sets],
        }

    def as_markdown(self) -> str:
        parts = [line for report in self.sets for line in _set_markdown(report)]
        note = (
            "Each table's rows share one pool, targets and candidates both; figures of different "
            f"pools do not compare. In brackets: {INTERVAL}; a difference's is paired. A model "
            "reads each position's own window, recomputed. The rules' centre and decay come from "
            "the documents in neither set. "
            f"Data: {self.data.file}, sha256 {self.data.sha256[:12]}…."
        )
        return "\n".join([*parts, note, ""])


def _set_json(report: SetReport, dataset_digest: str) -> dict[str, object]:
    models = {row.name: row for row in report.rows}
    return {
        "name": report.name,
        "description": report.description,
        "documents": report.documents,
        "vectors": report.vectors,
        "pool": {
            "digest": report.pool_digest,
            "dataset_digest": dataset_digest,
            "set": report.name,
            "kind": report.pool.kind,
            "size": report.pool.size,
            "seed": report.pool.seed,
            "chance_hit_at_5": report.pool.chance_hit_at_5,
        },
        "scores": [
            {
                "name": row.name,
                "kind": row.kind,
                "window": row.window,
                "checkpoint_sha256": row.checkpoint_sha256,
                "held_out": row.held_out,
                "seen_documents": row.seen,
                **{name: asdict(figure) for name, figure in (row.figures or {}).items()},
            }
            for row in report.rows
        ],
        "differences": [
            {
                "a": item.a,
                "b": item.b,
                "metric": item.metric,
                "difference": item.figure.value,
                "low": item.figure.low,
                "high": item.figure.high,
                "a_checkpoint_sha256": models[item.a].checkpoint_sha256,
                "a_window": models[item.a].window,
                "b_checkpoint_sha256": models[item.b].checkpoint_sha256,
                "b_window": models[item.b].window,
            }
            for item in report.differences
        ],
    }


def _set_markdown(report: SetReport) -> list[str]:
    title = (
        f"Held out: {report.name} ({report.description}). "
        f"Pool: {report.pool} of {report.vectors} vectors in {len(report.documents)} documents; "
        f"chance Hit@5 {100 * report.pool.chance_hit_at_5:.1f} %. "
        f"Pool digest {report.pool_digest[:12]}…."
    )
    header = ["| | Hit@1 % | Hit@5 % | Hit@10 % | MRR | cosine |", "|---|---|---|---|---|---|"]
    lines = [title, "", *header, *(_row(row, len(report.documents)) for row in report.rows)]
    lines += ["", *difference_table(report.differences)]
    return lines


def difference_table(items: Sequence[Difference]) -> list[str]:
    """A line a pair; in points where the metric is a share. Nothing for no pairs."""
    pairs = dict.fromkeys((item.a, item.b) for item in items)
    if not pairs:
        return []
    by_key = {(item.a, item.b, item.metric): item.figure for item in items}
    lines = [
        "| difference | Hit@1 points | Hit@5 points | Hit@10 points | MRR | cosine |",
        "|---|---|---|---|---|---|",
    ]
    for a, b in pairs:
        cells = [_cell(metric, by_key[a, b, metric], "+") for metric in METRICS]
        lines.append(f"| {a} − {b} | {' | '.join(cells)} |")
    return [*lines, ""]


def _row(row: Row, documents: int) -> str:
    name = row.name
    if row.seen is None:
        name += " (its checkpoint does not say what it was trained on)"
    elif row.seen:
        name += (
            f": **not held out for this model**, trained on {len(row.seen)} of the "
            f"{documents} documents, {row.seen[0]} first"
        )
    if row.figures is None:
        return f"| {name} | – | – | – | – | – |"
    return f"| {name} | {' | '.join(_cell(m, row.figures[m]) for m in METRICS)} |"


def _cell(metric: str, figure: Figure, sign: str = "") -> str:
    scale, form = (100, f"{sign}.1f") if metric.startswith("hit") else (1, f"{sign}.3f")
    value, low, high = (scale * x + 0.0 for x in (figure.value, figure.low, figure.high))
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"
