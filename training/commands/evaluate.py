"""`nextvec evaluate`: models and rules on the same held-out positions."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from architectures import checkpoint
from corpora import corpus
from corpora.corpus import Corpus
from corpora.retrieval_metrics import Vectors
from service.evaluation_report import EvaluationData
from service.manifest import sha256
from training import comparison, curves, held_out, pool_demo
from training.commands import sweeps
from training.evaluated_model import EvaluatedModel, load_all
from training.evaluation import PoolSpec, evaluate
from training.held_out import HeldOutSet
from training.plots import curves_picture, report_picture
from training.prediction import predict_exact
from training.report_markdown import report_markdown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints",
        nargs="*",
        metavar="CHECKPOINT[:WINDOW]",
        help="a model and the vectors it reads; without a window, the one it was trained with",
    )
    parser.add_argument("--data", type=Path, help="the corpus (.npz)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"), help="(%(default)s)")
    parser.add_argument("--pool", type=int, default=1000, help="held-out positions (%(default)s)")
    parser.add_argument(
        "--pool-kind",
        choices=("random", "contiguous"),
        default="random",
        help="positions from anywhere, or one run of them (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the pool (%(default)s)")
    parser.add_argument(
        "--held-out",
        choices=held_out.HOLD_OUT,
        help="what training left out, for checkpoints that do not name their documents",
    )
    parser.add_argument(
        "--include-seen",
        action="store_true",
        help="score a model on documents it was trained on too, and say so",
    )
    parser.add_argument(
        "--sweep",
        nargs="+",
        choices=sweeps.NAMES,
        help="vary one thing: context length, pool size, window policy, position in the document, "
        "or how far back the context is cut or changed",
    )
    parser.add_argument(
        "--set",
        choices=("eras", "latest"),
        default="eras",
        help="the held-out set of a sweep (%(default)s)",
    )
    parser.add_argument(
        "--positions",
        type=int,
        default=200,
        help="of a sweep; that by position takes them all (%(default)s)",
    )
    parser.add_argument(
        "--pool-demo",
        action="store_true",
        help="show how far Hit@5 of one rule moves with the pool alone",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("REPORT", "REPORT"),
        help="two report.json: the second less the first; refused unless their pools are the same",
    )
    parser.add_argument(
        "--curves",
        nargs="+",
        type=Path,
        metavar="HISTORY",
        help="runs of nextvec train (.history.json, .unfinished.pt) by what they cost: Hit@5 "
        "against vectors read",
    )


def run(args: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    try:
        if args.compare:
            print(comparison.compare(*args.compare))
        elif args.curves:
            _curves(args.curves, args.out)
        elif args.pool_demo:
            print(pool_demo.demonstrate(corpus.load(_needed(args.data))))
        else:
            _evaluate(args, Console(stderr=True))
    except (
        checkpoint.CheckpointError,
        comparison.ComparisonError,
        corpus.CorpusError,
        curves.CurveError,
        ValueError,
    ) as error:
        raise SystemExit(f"nextvec evaluate: {error}") from error
    return 0


def _evaluate(args: argparse.Namespace, console: Console) -> None:
    if not args.checkpoints:
        raise ValueError("name a checkpoint")
    whole = corpus.load(_needed(args.data))
    models = load_all(args.checkpoints)
    if args.held_out:
        models = [_with_documents(model, whole, args.held_out) for model in models]
    pool = PoolSpec(args.pool_kind, args.pool, args.seed)
    if args.sweep:
        spec = sweeps.SweepSpec(args.sweep, args.set, args.positions, pool, args.include_seen)
        sweeps.run(spec, whole, models, args.out, console)
        return

    def predict(model: EvaluatedModel, one: HeldOutSet, targets: NDArray[np.int64]) -> Vectors:
        return _predict(model, one, targets, console)

    report, all_scores = evaluate(
        whole,
        EvaluationData(
            file=args.data.name,
            sha256=sha256(args.data),
            vectors=len(whole.vectors),
            documents=len(whole.documents),
        ),
        models,
        pool,
        predict,
        include_seen=args.include_seen,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    text = report_markdown(report)
    (args.out / "report.md").write_text(text)
    comparison.save_scores(args.out / "report.npz", all_scores)
    report_picture(report, args.out / "report.png")
    # Written last: where report.json exists, the other files do too.
    (args.out / "report.json").write_text(report.model_dump_json(indent=1) + "\n")
    print(f"{text}\nwritten to {args.out}/report.md, report.json and report.png")


def _curves(histories: list[Path], out: Path) -> None:
    runs = curves.load(histories)
    out.mkdir(parents=True, exist_ok=True)
    curves_picture(runs, out / "curves.png")
    print(f"{curves.table(runs)}\n\nwritten to {out}/curves.png")


def _needed(data: Path | None) -> Path:
    if data is None:
        raise ValueError("name the corpus with --data")
    return data


def _with_documents(
    model: EvaluatedModel, whole: Corpus, hold_out: held_out.HoldOut
) -> EvaluatedModel:
    """The training documents as the caller states them, if the checkpoint lists none."""
    if model.trained_on is not None:
        return model
    trained = held_out.names(held_out.split(whole, hold_out).train)
    return replace(model, trained_on=frozenset(trained))


def _predict(
    model: EvaluatedModel, one: HeldOutSet, targets: NDArray[np.int64], console: Console
) -> Vectors:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(f"{model.name}, {one.name}", total=len(targets))
        return predict_exact(
            model.model,
            one.corpus.vectors,
            targets,
            model.window,
            lambda done: bar.update(task, completed=done),
            workers=os.cpu_count() or 1,
        )
