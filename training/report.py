"""An evaluation's report: one pool, every score beside the rules it has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from training.evaluate import Figure, Figures

INTERVAL = "95 % percentile bootstrap, resampling documents"


@dataclass(frozen=True)
class Score:
    """One row. A model has a window and its checkpoint's digest; a baseline has neither."""

    name: str
    figures: Figures
    window: int | None = None
    checkpoint_sha256: str | None = None

    @property
    def kind(self) -> str:
        return "baseline" if self.checkpoint_sha256 is None else "model"


@dataclass(frozen=True)
class Data:
    """What was evaluated on."""

    file: str
    sha256: str
    split: str
    train_vectors: int
    held_out_vectors: int
    held_out_documents: int


@dataclass(frozen=True)
class PoolNote:
    """The pool a score belongs to; `chance_hit_at_5` is a random answer's."""

    kind: str
    size: int
    seed: int

    @property
    def chance_hit_at_5(self) -> float:
        return min(1.0, 5 / self.size)


@dataclass(frozen=True)
class Report:
    """Scores on the same positions and candidates, so that rows can be compared."""

    data: Data
    pool: PoolNote
    scores: tuple[Score, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "schema_version": 1,
            "data": vars(self.data),
            "pool": {**vars(self.pool), "chance_hit_at_5": self.pool.chance_hit_at_5},
            "interval": INTERVAL,
            "scores": [
                {
                    "name": score.name,
                    "kind": score.kind,
                    "window": score.window,
                    "checkpoint_sha256": score.checkpoint_sha256,
                    **score.figures.as_json(),
                }
                for score in self.scores
            ],
        }

    def as_markdown(self) -> str:
        data, pool = self.data, self.pool
        rows = [
            f"| {score.name} | {_percent(score.figures.hit_at_1)} "
            f"| {_percent(score.figures.hit_at_5)} | {_percent(score.figures.hit_at_10)} "
            f"| {_plain(score.figures.mrr)} | {_plain(score.figures.cosine)} |"
            for score in self.scores
        ]
        note = (
            f"Pool: {pool.kind} (seed {pool.seed}) of {data.held_out_vectors} held-out vectors "
            f"in {data.held_out_documents} documents ({data.split}), the same for every row, "
            f"targets and candidates both; chance Hit@5 {100 * pool.chance_hit_at_5:.1f} %. "
            f"In brackets: {INTERVAL}. A model reads each position's own window, recomputed. "
            f"Data: {data.file}, sha256 {data.sha256[:12]}…."
        )
        header = ["| | Hit@1 % | Hit@5 % | Hit@10 % | MRR | cosine |", "|---|---|---|---|---|---|"]
        return "\n".join([*header, *rows, "", note, ""])


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


def _plain(figure: Figure) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
