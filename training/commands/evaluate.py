"""`nextvec evaluate`: models and baselines on one pool of held-out positions."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model_export import checkpoint
from model_export.architecture import MemoryAugmentedGRU
from service.manifest import sha256
from training import baselines, corpus, metrics
from training.evaluate import figures, predict_exact
from training.plots import hit_at_5_bars
from training.report import Data, PoolNote, Report, Score


@dataclass(frozen=True)
class _Candidate:
    name: str
    model: MemoryAugmentedGRU
    window: int
    digest: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints",
        nargs="+",
        metavar="CHECKPOINT[:WINDOW]",
        help="a model and the vectors it reads; without a window, the one it was trained with",
    )
    parser.add_argument("--data", type=Path, required=True, help="the corpus (.npz)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"), help="(%(default)s)")
    parser.add_argument("--pool", type=int, default=1000, help="held-out positions (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the pool (%(default)s)")


def run(args: argparse.Namespace) -> int:
    console = Console(stderr=True)
    torch.set_num_threads(1)
    try:
        candidates = [_candidate(text) for text in args.checkpoints]
        _refuse_duplicates(candidates)
        split = corpus.split_every(corpus.load(args.data))
        pool = metrics.random_pool(len(split.held_out.vectors), args.pool, args.seed)
    except (checkpoint.CheckpointError, corpus.CorpusError, ValueError) as error:
        raise SystemExit(f"nextvec evaluate: {error}") from error
    held_out = split.held_out
    scores = [
        *(_model_score(candidate, held_out, pool, console) for candidate in candidates),
        *(
            Score(rule.name, figures(rule.predict(held_out.vectors, pool.targets), held_out, pool))
            for rule in baselines.all_rules(split.train.vectors)
        ),
    ]
    data = Data(
        file=args.data.name,
        sha256=sha256(args.data),
        split="every eighth document held out",
        train_vectors=len(split.train.vectors),
        held_out_vectors=len(held_out.vectors),
        held_out_documents=len(np.unique(held_out.document_id)),
    )
    report = Report(data, PoolNote(pool.kind, pool.size, args.seed), tuple(scores))
    _write(report, args.out)
    print(f"{report.as_markdown()}\nwritten to {args.out}/report.md, report.json and report.png")
    return 0


def _candidate(text: str) -> _Candidate:
    head, _, tail = text.rpartition(":")
    path, window = (Path(head), tail) if head and tail.isdecimal() else (Path(text), "")
    model = checkpoint.load(path)
    window = window or checkpoint.metadata(path).get("window", "")
    if not window.isdecimal() or int(window) < 1:
        raise ValueError(f"{path}: does not say its window; write {path}:500 for a window of 500")
    return _Candidate(f"{path.stem} (window {int(window)})", model, int(window), sha256(path))


def _refuse_duplicates(candidates: list[_Candidate]) -> None:
    names = [candidate.name for candidate in candidates]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is given twice; rename one of the files")


def _model_score(
    candidate: _Candidate, held_out: corpus.Corpus, pool: metrics.Pool, console: Console
) -> Score:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(candidate.name, total=pool.size)
        predicted = predict_exact(
            candidate.model,
            held_out.vectors,
            pool.targets,
            candidate.window,
            lambda done: bar.update(task, completed=done),
            workers=os.cpu_count() or 1,
        )
    measured = figures(predicted, held_out, pool)
    return Score(candidate.name, measured, candidate.window, candidate.digest)


def _write(report: Report, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(report.as_markdown())
    (out / "report.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
    hit_at_5_bars(report, out / "report.png")
