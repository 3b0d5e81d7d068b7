"""Both held-out sets, every model and every rule: one pool a set, paired differences."""

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
from training import baselines, held_out, scores
from training.bootstrap import DocumentBootstrap
from training.evaluated_model import EvaluatedModel
from training.held_out import HeldOutSet
from training.report import Data, Report, Row, SetReport
from training.scores import PositionScores

Predict = Callable[[EvaluatedModel, HeldOutSet, NDArray[np.int64]], Vectors]
"""Predictions `[n, dim]` of positions in a set's stream."""


@dataclass(frozen=True)
class PoolSpec:
    """What pool to draw from each set."""

    kind: PoolKind
    size: int
    seed: int

    def draw(self, of: HeldOutSet) -> CandidatePool:
        try:
            return candidate_pool.draw_pool(self.kind, len(of.corpus.vectors), self.size, self.seed)
        except ValueError as error:
            raise ValueError(f"held-out set {of.name}: {error}") from error


@dataclass(frozen=True)
class SetScores:
    """What a set's rows scored at each position, for whoever compares them later."""

    document: NDArray[np.int32]
    rows: Mapping[str, PositionScores]


def evaluate(
    corpus: Corpus,
    data: Data,
    candidates: Sequence[EvaluatedModel],
    wish: PoolSpec,
    predict: Predict,
    *,
    include_seen: bool,
) -> tuple[Report, dict[str, SetScores]]:
    """Score everything on both held-out sets.

    Figures are withheld where a model was trained on documents of the set, but with
    `include_seen`. Raises `CorpusError` where that leaves a model none, or where a
    document's text is on both sides; `ValueError` where a pool cannot be drawn, or a
    window is longer than a set.
    """
    both = held_out.sets(corpus)
    for one in both:
        check_length(candidates, one)
    pools = [wish.draw(one) for one in both]
    if not include_seen:
        for candidate in candidates:
            _check_something_is_left(candidate, both)
    neither = held_out.split(corpus, "both").train
    rules = baselines.all_rules(neither.vectors)
    reports, outcomes = [], {}
    for one, pool in zip(both, pools, strict=True):
        seen = {
            candidate.name: held_out.seen(candidate.trained_on, one.documents)
            for candidate in candidates
        }
        targets = one.corpus.vectors[pool.targets]
        measured = {
            candidate.name: scores.score_predictions(predict(candidate, one, pool.targets), targets)
            for candidate in candidates
            if include_seen or not seen[candidate.name]
        }
        for rule in rules:
            predicted = rule.predict(one.corpus.vectors, pool.targets)
            measured[rule.name] = scores.score_predictions(predicted, targets)
        document = one.corpus.document_id[pool.targets]
        outcomes[one.name] = SetScores(document, measured)
        bootstrap = DocumentBootstrap(document)
        figures = {name: scores.figures(item, bootstrap) for name, item in measured.items()}
        rows = [
            *(
                Row(item.name, figures.get(item.name), item.window, item.digest, seen[item.name])
                for item in candidates
            ),
            *(Row(rule.name, figures[rule.name]) for rule in rules),
        ]
        pairs = _pairs([item.name for item in candidates], [rule.name for rule in rules])
        reports.append(
            SetReport(
                name=one.name,
                description=one.description,
                documents=one.documents,
                vectors=len(one.corpus.vectors),
                pool=pool,
                pool_digest=pool.digest(data.sha256, one.rows),
                rows=tuple(rows),
                differences=tuple(
                    difference
                    for a, b in pairs
                    if a in measured and b in measured
                    for difference in scores.differences(
                        (a, measured[a]), (b, measured[b]), bootstrap
                    )
                ),
            )
        )
    return Report(data, tuple(reports)), outcomes


def check_length(candidates: Sequence[EvaluatedModel], one: HeldOutSet) -> None:
    """Refuse a window that no position of the set could fill.

    Raises `ValueError` naming model and set.
    """
    total = len(one.corpus.vectors)
    for candidate in candidates:
        if candidate.window >= total:
            raise ValueError(
                f"held-out set {one.name} has {total} vectors: too few to fill the window of "
                f"{candidate.name}; evaluate on a longer corpus, or at a smaller window"
            )


def check_held_out(candidates: Sequence[EvaluatedModel], one: HeldOutSet) -> None:
    """Refuse models that were trained on documents of the set.

    Raises `CorpusError` naming model and documents.
    """
    for candidate in candidates:
        if leak := held_out.seen(candidate.trained_on, one.documents):
            raise CorpusError(
                f"{candidate.name} was trained on {len(leak)} of the {len(one.documents)} "
                f"documents of the held-out set {one.name} ({_some(leak)}); choose the other set, "
                "or give "
                "--include-seen to see what it remembers"
            )


def _check_something_is_left(candidate: EvaluatedModel, both: Sequence[HeldOutSet]) -> None:
    leaks = [held_out.seen(candidate.trained_on, one.documents) for one in both]
    if all(leaks):
        told = "; ".join(
            f"{one.name}: {len(leak or ())} of {len(one.documents)} ({_some(leak or ())})"
            for one, leak in zip(both, leaks, strict=True)
        )
        raise CorpusError(
            f"{candidate.name} was trained on documents of every held-out set: {told}; "
            "train with documents held out, or give --include-seen to see what it remembers"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _pairs(models: list[str], rules: list[str]) -> list[tuple[str, str]]:
    """The later model less the earlier ones; every model less every rule."""
    later = [(b, a) for a, b in combinations(models, 2)]
    return later + [(model, rule) for model in models for rule in rules]
