"""Scores every model and every baseline on both held-out sets, with paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from corpora import candidate_pool
from corpora.candidate_pool import CandidatePool, PoolKind
from corpora.corpus import Corpus, CorpusError
from corpora.retrieval_metrics import Vectors
from service.evaluation_report import (
    EvaluationData,
    EvaluationReport,
    HeldOutSection,
    ModelScore,
    PairedDifference,
    PoolInfo,
)
from training import baselines, held_out, scores
from training.baselines import BaselineRule
from training.bootstrap import INTERVAL, DocumentBootstrap
from training.evaluated_model import EvaluatedModel
from training.held_out import HeldOutSet
from training.scores import PositionScores

Predict = Callable[[EvaluatedModel, HeldOutSet, NDArray[np.int64]], Vectors]
"""Predictions `[n, dim]` of positions `[n]` in a set's stream."""


@dataclass(frozen=True)
class PoolSpec:
    """The pool to draw from each held-out set."""

    kind: PoolKind
    size: int
    seed: int

    def draw(self, of: HeldOutSet) -> CandidatePool:
        """Raises `ValueError`, naming the set, if it has too few vectors."""
        try:
            return candidate_pool.draw_pool(self.kind, len(of.corpus.vectors), self.size, self.seed)
        except ValueError as error:
            raise ValueError(f"held-out set {of.name}: {error}") from error


@dataclass(frozen=True)
class SetScores:
    """The scores of every row of a set at every position, for later comparisons.

    `document` `[n]` is the document of each position.
    """

    document: NDArray[np.int32]
    rows: Mapping[str, PositionScores]


def evaluate(
    corpus: Corpus,
    data: EvaluationData,
    models: Sequence[EvaluatedModel],
    pool_spec: PoolSpec,
    predict: Predict,
    *,
    include_seen: bool,
) -> tuple[EvaluationReport, dict[str, SetScores]]:
    """Score all models and baselines on both held-out sets.

    A model's metrics are withheld on a set that it was trained on, unless `include_seen`.
    Raises `CorpusError` if that leaves a model no set, or if a document's text is both held
    out and trained on; `ValueError` if a pool cannot be drawn or a window is longer than a set.
    """
    both = held_out.sets(corpus)
    for one in both:
        check_length(models, one)
    pools = [pool_spec.draw(one) for one in both]
    if not include_seen:
        for model in models:
            _check_a_set_is_left(model, both)
    in_neither = held_out.split(corpus, "both").train
    rules = baselines.all_rules(in_neither.vectors)
    sections, all_scores = [], {}
    for one, pool in zip(both, pools, strict=True):
        allowed = [model for model in models if include_seen or not _seen_documents(model, one)]
        set_scores = _score(one, pool, allowed, rules, predict)
        all_scores[one.name] = set_scores
        sections.append(_section(one, pool, models, rules, set_scores, data.sha256))
    report = EvaluationReport(data=data, interval=INTERVAL, sets=tuple(sections))
    return report, all_scores


def check_length(models: Sequence[EvaluatedModel], one: HeldOutSet) -> None:
    """Raise `ValueError`, naming model and set, if no position of the set fills a window."""
    total = len(one.corpus.vectors)
    for model in models:
        if model.window >= total:
            raise ValueError(
                f"held-out set {one.name} has {total} vectors: too few to fill the window of "
                f"{model.name}; evaluate on a longer corpus, or at a smaller window"
            )


def check_held_out(models: Sequence[EvaluatedModel], one: HeldOutSet) -> None:
    """Raise `CorpusError`, naming model and documents, if a model was trained on the set."""
    for model in models:
        if seen := _seen_documents(model, one):
            raise CorpusError(
                f"{model.name} was trained on {len(seen)} of the {len(one.documents)} "
                f"documents of the held-out set {one.name} ({_first_names(seen)}); choose the "
                "other set, or pass --include-seen to score it on documents it has seen"
            )


def _score(
    one: HeldOutSet,
    pool: CandidatePool,
    models: Sequence[EvaluatedModel],
    rules: Sequence[BaselineRule],
    predict: Predict,
) -> SetScores:
    stream = one.corpus.vectors
    targets = stream[pool.targets]
    rows = {
        model.name: scores.score_predictions(predict(model, one, pool.targets), targets)
        for model in models
    }
    for rule in rules:
        rows[rule.name] = scores.score_predictions(rule.predict(stream, pool.targets), targets)
    return SetScores(one.corpus.document_id[pool.targets], rows)


def _section(
    one: HeldOutSet,
    pool: CandidatePool,
    models: Sequence[EvaluatedModel],
    rules: Sequence[BaselineRule],
    set_scores: SetScores,
    dataset_sha256: str,
) -> HeldOutSection:
    bootstrap = DocumentBootstrap(set_scores.document)
    metrics = {name: scores.estimates(row, bootstrap) for name, row in set_scores.rows.items()}
    model_rows = [
        _model_score(model, one).with_metrics(metrics.get(model.name)) for model in models
    ]
    rule_rows = [
        ModelScore(name=rule.name, kind="baseline", held_out=True, seen_documents=()).with_metrics(
            metrics[rule.name]
        )
        for rule in rules
    ]
    return HeldOutSection(
        name=one.name,
        description=one.description,
        documents=one.documents,
        vectors=len(one.corpus.vectors),
        pool=PoolInfo(
            digest=pool.digest(dataset_sha256, one.rows),
            dataset_digest=dataset_sha256,
            set=one.name,
            kind=pool.kind,
            size=pool.size,
            seed=pool.seed,
            chance_hit_at_5=pool.chance_hit_at_5,
        ),
        scores=(*model_rows, *rule_rows),
        differences=tuple(_differences(models, rules, set_scores, bootstrap)),
    )


def _model_score(model: EvaluatedModel, one: HeldOutSet) -> ModelScore:
    seen = _seen_documents(model, one)
    return ModelScore(
        name=model.name,
        kind="model",
        window=model.window,
        checkpoint_sha256=model.digest,
        held_out=None if seen is None else not seen,
        seen_documents=seen,
    )


def _differences(
    models: Sequence[EvaluatedModel],
    rules: Sequence[BaselineRule],
    set_scores: SetScores,
    bootstrap: DocumentBootstrap,
) -> list[PairedDifference]:
    """Every later model minus every earlier one, and every model minus every baseline."""
    rows, by_name = set_scores.rows, {model.name: model for model in models}
    pairs = [(later.name, earlier.name) for earlier, later in combinations(models, 2)]
    pairs += [(model.name, rule.name) for model in models for rule in rules]
    found = []
    for a, b in pairs:
        if a not in rows or b not in rows:
            continue
        sources = {
            f"{side}_{field}": value
            for side, name in (("a", a), ("b", b))
            if (model := by_name.get(name)) is not None
            for field, value in (("checkpoint_sha256", model.digest), ("window", model.window))
        }
        items = scores.differences((a, rows[a]), (b, rows[b]), bootstrap)
        found += [item.model_copy(update=sources) for item in items]
    return found


def _check_a_set_is_left(model: EvaluatedModel, both: Sequence[HeldOutSet]) -> None:
    seen = [_seen_documents(model, one) for one in both]
    if all(seen):
        details = "; ".join(
            f"{one.name}: {len(names or ())} of {len(one.documents)} ({_first_names(names or ())})"
            for one, names in zip(both, seen, strict=True)
        )
        raise CorpusError(
            f"{model.name} was trained on documents of every held-out set: {details}; train with "
            "documents held out, or pass --include-seen to score it on documents it has seen"
        )


def _seen_documents(model: EvaluatedModel, one: HeldOutSet) -> tuple[str, ...] | None:
    return held_out.find_seen(model.trained_on, one.documents)


def _first_names(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
