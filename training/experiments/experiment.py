"""Train two arms from one start and score them at every held-out position, paired."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from architectures.model import NextVectorModel
from corpora import candidate_pool, retrieval_metrics
from corpora.corpus import Corpus, CorpusSplit
from service.evaluation_report import PairedDifference
from training import held_out, scores
from training.bootstrap import INTERVAL, DocumentBootstrap
from training.held_out import HeldOutSet
from training.initialization import initialize
from training.recipe import Recipe
from training.report_markdown import difference_table
from training.scores import PositionScores
from training.sweeps.windows import anchored
from training.trainer import NegativeSampler, Progress, train

POOL = 1000


@dataclass(frozen=True)
class ExperimentArm:
    """One of the two: what it is called, its recipe, and its hard negatives if any."""

    name: str
    recipe: Recipe
    negatives: NegativeSampler | None = None


@dataclass(frozen=True)
class ArmComparison:
    """The second arm less the first on one held-out set, every metric."""

    name: str
    documents: int
    positions: int
    differences: tuple[PairedDifference, ...]

    def of(self, metric: str) -> PairedDifference:
        return next(item for item in self.differences if item.metric == metric)


@dataclass(frozen=True)
class ExperimentResult:
    """What was run, and its result on each set that was held out whole."""

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
        lines: list[str] = []
        for result in self.results:
            title = (
                f"Held out: {result.name}. All {result.positions} positions in "
                f"{result.documents} documents, each in a random pool of {POOL}, by anchored "
                f"windows. Both arms: from {self.start}, {self.vectors} training vectors, "
                f"{self.arms[0].recipe.epochs} epoch(s), seed {self.arms[0].recipe.seed}."
            )
            lines += [title, "", *difference_table(result.differences)]
        note = f"In brackets: {INTERVAL}, paired. It covers other documents, not other seeds."
        return "\n".join([*lines, note])


def run(
    corpus: Corpus,
    split: CorpusSplit,
    arms: tuple[ExperimentArm, ExperimentArm],
    start: tuple[str, NextVectorModel] | None,
    progress: Callable[[str], Progress],
) -> ExperimentResult:
    """Both arms from the same weights on the same batches; only what the arms name differs.

    `start` is a name and a model; without one, an untrained model. `progress(arm)` gives
    the callback for that arm's training. Raises `ValueError` where there is too little to
    train on or to score.
    """
    said, model = start or ("untrained", initialize(split.train.vectors, arms[0].recipe))
    models = [
        train(split, arm.recipe, progress(arm.name), copy.deepcopy(model), arm.negatives).model
        for arm in arms
    ]
    kept = set(held_out.names(split.held_out))
    whole = [one for one in held_out.sets(corpus) if kept.issuperset(one.documents)]
    results = []
    for one in whole:
        before, after = (
            (arm.name, _outcome(model, arm.recipe.window, one))
            for arm, model in zip(arms, models, strict=True)
        )
        document = one.corpus.document_id[1:]
        items = scores.differences(after, before, DocumentBootstrap(document))
        results.append(ArmComparison(one.name, len(one.documents), len(document), tuple(items)))
    return ExperimentResult(arms, said, len(split.train.vectors), tuple(results))


def thin(split: CorpusSplit, share: float) -> CorpusSplit:
    """The split with about `share` of its training documents, evenly from all eras.

    Raises `ValueError` on a share outside 0..1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share} of the data is not in 0..1")
    present = np.unique(split.train.document_id)
    wanted = max(1, round(share * len(present)))
    chosen = np.zeros(len(split.train.documents), bool)
    chosen[present[np.arange(wanted) * len(present) // wanted]] = True
    return CorpusSplit(split.train.of_documents(chosen), split.held_out)


def _outcome(model: NextVectorModel, window: int, one: HeldOutSet) -> PositionScores:
    stream = one.corpus.vectors
    targets = np.arange(1, len(stream))
    pool = candidate_pool.random_pool(len(stream), min(POOL, len(stream) - 1), seed=0)
    predicted = anchored(model, stream, targets, window, lambda _vectors: None)
    ranked = retrieval_metrics.ranks_among(predicted, stream, targets, pool.targets)
    return PositionScores(ranked, (predicted * stream[targets]).sum(axis=1))


def _json(item: PairedDifference) -> dict[str, object]:
    fields: dict[str, object] = item.model_dump(mode="json", exclude_none=True)
    return fields
