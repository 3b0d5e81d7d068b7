"""An evaluation report in Markdown: one table of scores and one of differences a held-out set."""

from __future__ import annotations

from collections.abc import Sequence

from service.evaluation_report import (
    METRICS,
    Estimate,
    EvaluationReport,
    HeldOutSection,
    Metric,
    ModelScore,
    PairedDifference,
    PoolInfo,
)
from training.bootstrap import INTERVAL


def report_markdown(report: EvaluationReport) -> str:
    parts = _overview(report.sets)
    parts += [line for section in report.sets for line in _section(section)]
    note = (
        "All rows of a table share one pool, which is both the targets and the candidates. Scores "
        f"on different pools are not comparable. In brackets: {INTERVAL}; differences are paired. "
        "A model reads each position's own window, recomputed. The baselines take centre and "
        "decay from the documents that are in neither set. "
        f"Data: {report.data.file}, sha256 {report.data.sha256[:12]}…."
    )
    return "\n".join([*parts, note, ""])


def _overview(sections: Sequence[HeldOutSection]) -> list[str]:
    """Hit@5 of every row on every set, and of each model less the set's best baseline."""
    header = ["Hit@5 % on every set, each with its own pool:", ""]
    header += [f"| | {' | '.join(section.name for section in sections)} |"]
    header += ["|---|" + "---|" * len(sections)]
    names = dict.fromkeys((score.name, score.kind) for one in sections for score in one.scores)
    lines = []
    for name, _ in names:
        cells = [_cell("hit_at_5", _estimate(section, name)) for section in sections]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, kind in names:
        if kind == "model":
            cells = [_cell("hit_at_5", _less_best(section, name), "+") for section in sections]
            lines.append(f"| {name} − best baseline of the set | {' | '.join(cells)} |")
    return [*header, *lines, ""]


def _estimate(section: HeldOutSection, name: str) -> Estimate | None:
    return next((score.hit_at_5 for score in section.scores if score.name == name), None)


def _less_best(section: HeldOutSection, model: str) -> Estimate | None:
    """The paired difference to the baseline that scores best on this set."""
    rules = [
        (score.hit_at_5.value, score.name)
        for score in section.scores
        if score.kind == "baseline" and score.hit_at_5 is not None
    ]
    best = max(rules)[1] if rules else None
    for item in section.differences:
        if (item.a, item.b, item.metric) == (model, best, "hit_at_5"):
            return item.estimate
    return None


def difference_table(items: Sequence[PairedDifference]) -> list[str]:
    """One row a pair; shares in percentage points. Empty for no differences."""
    pairs = dict.fromkeys((item.a, item.b) for item in items)
    if not pairs:
        return []
    by_key = {(item.a, item.b, item.metric): item.estimate for item in items}
    lines = [
        "| difference | Hit@1 points | Hit@5 points | Hit@10 points | MRR | cosine |",
        "|---|---|---|---|---|---|",
    ]
    for a, b in pairs:
        cells = [_cell(metric, by_key[a, b, metric], "+") for metric in METRICS]
        lines.append(f"| {a} − {b} | {' | '.join(cells)} |")
    return [*lines, ""]


def pool_text(pool: PoolInfo) -> str:
    return f"{pool.size} {pool.kind} positions (seed {pool.seed})"


def _section(section: HeldOutSection) -> list[str]:
    pool = section.pool
    title = (
        f"Held out: {section.name} ({section.description}). "
        f"Pool: {pool_text(pool)} of {section.vectors} vectors in {len(section.documents)} "
        f"documents; chance Hit@5 {100 * (pool.chance_hit_at_5 or 0):.1f} %. "
        f"Pool digest {(pool.digest or '')[:12]}…."
    )
    header = ["| | Hit@1 % | Hit@5 % | Hit@10 % | MRR | cosine |", "|---|---|---|---|---|---|"]
    rows = [_row(score, len(section.documents)) for score in section.scores]
    return [title, "", *header, *rows, "", *difference_table(section.differences)]


def _row(score: ModelScore, documents: int) -> str:
    name = score.name
    if score.seen_documents is None:
        name += " (its checkpoint does not say what it was trained on)"
    elif score.seen_documents:
        name += (
            f": **not held out for this model**, trained on {len(score.seen_documents)} of the "
            f"{documents} documents, {score.seen_documents[0]} first"
        )
    cells = [_cell(metric, score.metric(metric)) for metric in METRICS]
    return f"| {name} | {' | '.join(cells)} |"


def _cell(metric: Metric, estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return "–"
    scale, form = (100, f"{sign}.1f") if metric.startswith("hit") else (1, f"{sign}.3f")
    value, low, high = (scale * x + 0.0 for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"
