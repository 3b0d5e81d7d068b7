"""Trains two arms from one start and compares them at every held-out position, paired."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from architectures.model import NextVectorModel
from corpora import candidate_pool, retrieval_metrics
from corpora.corpus import Corpus, CorpusSplit
from service.evaluation_report import Metric, PairedDifference
from training import held_out, scores
from training.bootstrap import INTERVAL, DocumentBootstrap
from training.held_out import HeldOutSet
from training.initialization import initialize
from training.prediction import predict_anchored
from training.recipe import Recipe
from training.report_markdown import difference_table
from training.scores import PositionScores
from training.trainer import NegativeSampler, Progress, train

POOL = 1000


@dataclass(frozen=True)
class ExperimentArm:
    """One of the two arms: its name, its recipe, and its hard negatives if it has any."""

    name: str
    recipe: Recipe
    negatives: NegativeSampler | None = None


@dataclass(frozen=True)
class ArmComparison:
    """The second arm minus the first on one held-out set, for every metric."""

    name: str
    documents: int
    positions: int
    differences: tuple[PairedDifference, ...]

    def of(self, metric: Metric) -> PairedDifference:
        return next(item for item in self.differences if item.metric == metric)


@dataclass(frozen=True)
class ExperimentResult:
    """The arms, their common start, and a comparison on each set that was held out whole."""

    arms: tuple[ExperimentArm, ExperimentArm]
    start: str
    vectors: int
    results: tuple[ArmComparison, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "arms": [{"name": arm.name, "recipe": asdict(arm.recipe)} for arm in self.arms],
            "start": self.start,
            "training_vectors": self.vectors,
            "interval": INTERVAL,
            "results": [
                {**vars(result), "differences": [_json(item) for item in result.differences]}
                for result in self.results
            ],
        }

    def as_markdown(self) -> str:
        recipe = self.arms[0].recipe
        lines: list[str] = []
        for result in self.results:
            title = (
                f"Held out: {result.name}. All {result.positions} positions in "
                f"{result.documents} documents, each in a random pool of {POOL}, by anchored "
                f"windows. Both arms start from {self.start} and train on {self.vectors} vectors "
                f"for {recipe.epochs} epoch(s) with seed {recipe.seed}."
            )
            lines += [title, "", *difference_table(result.differences)]
        note = (
            f"In brackets: {INTERVAL}, paired. "
            "The interval covers the choice of documents, not the choice of the seed."
        )
        return "\n".join([*lines, note])


def run(
    corpus: Corpus,
    split: CorpusSplit,
    arms: tuple[ExperimentArm, ExperimentArm],
    start: tuple[str, NextVectorModel] | None,
    progress: Callable[[str], Progress],
) -> ExperimentResult:
    """Train both arms from the same weights on the same batches and compare them.

    `start` is a name and a model; None stands for an untrained model. `progress(arm)` returns
    the callback for that arm's training. Raises `ValueError` if there is too little to train on
    or to score.
    """
    start_name, model = start or ("untrained", initialize(split.train.vectors, arms[0].recipe))
    models = [
        train(split, arm.recipe, progress(arm.name), copy.deepcopy(model), arm.negatives).model
        for arm in arms
    ]
    held_out_names = set(held_out.names(split.held_out))
    comparisons = []
    for one in held_out.sets(corpus):
        if not held_out_names.issuperset(one.documents):
            continue
        first, second = (
            (arm.name, _score(model, arm.recipe.window, one))
            for arm, model in zip(arms, models, strict=True)
        )
        document = one.corpus.document_id[1:]
        items = scores.differences(second, first, DocumentBootstrap(document))
        comparisons.append(ArmComparison(one.name, len(one.documents), len(document), tuple(items)))
    return ExperimentResult(arms, start_name, len(split.train.vectors), tuple(comparisons))


def thin(split: CorpusSplit, share: float) -> CorpusSplit:
    """Keep about `share` of the training documents, evenly spaced in time.

    Raises `ValueError` for a share outside 0..1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share} of the data is not in 0..1")
    present = np.unique(split.train.document_id)
    wanted = max(1, round(share * len(present)))
    chosen = np.zeros(len(split.train.documents), bool)
    chosen[present[np.arange(wanted) * len(present) // wanted]] = True
    return CorpusSplit(split.train.of_documents(chosen), split.held_out)


def _score(model: NextVectorModel, window: int, one: HeldOutSet) -> PositionScores:
    stream = one.corpus.vectors
    targets = np.arange(1, len(stream))
    pool = candidate_pool.random_pool(len(stream), min(POOL, len(stream) - 1), seed=0)
    predicted = predict_anchored(model, stream, targets, window, lambda _vectors: None)
    ranks = retrieval_metrics.ranks_among(predicted, stream, targets, pool.targets)
    return PositionScores(ranks, (predicted * stream[targets]).sum(axis=1))


def _json(item: PairedDifference) -> dict[str, object]:
    fields: dict[str, object] = item.model_dump(mode="json", exclude_none=True)
    return fields
