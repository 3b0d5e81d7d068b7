"""`nextvec evaluate`: score models and baselines on the same held-out positions."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from architectures import checkpoint
from corpora import corpus
from corpora.corpus import Corpus
from corpora.retrieval_metrics import Vectors
from service.commands.options import (
    CommandWithLists,
    OutputFormat,
    examples,
    new_app,
    print_json_file,
    with_options,
)
from service.evaluation_report import EvaluationData
from service.manifest import sha256
from training import comparison, curves, evaluation, held_out, pool_demo
from training.commands import sweeps
from training.evaluated_model import EvaluatedModel, load_all
from training.evaluation import PoolSpec
from training.held_out import HeldOutSet, HoldOut
from training.plots import curves_picture, report_picture
from training.prediction import predict_exact
from training.report_markdown import report_markdown

app = new_app()

_SWEEPS_AND_CURVES = "Other analyses"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of `nextvec evaluate`."""

    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT:WINDOW",
            help="Checkpoints to score. The window, in vectors, is optional; without it each "
            "model reads the window that it was trained with.",
        ),
    ] = None
    data: Annotated[
        Path | None, typer.Option(help="Data set (.npz), as written by nextvec data.")
    ] = None
    out: Annotated[Path, typer.Option(help="Directory for the report.")] = Path("out/evaluate")
    pool: Annotated[int, typer.Option(help="Number of held-out positions to score.")] = 1000
    pool_kind: Annotated[
        Literal["random", "contiguous"],
        typer.Option(help="Draw positions at random, or take one contiguous run."),
    ] = "random"
    seed: Annotated[int, typer.Option(help="Random seed of the pool.")] = 0
    held_out: Annotated[
        HoldOut | None,
        typer.Option(
            help="Documents that training held out, for checkpoints that do not record them."
        ),
    ] = None
    include_seen: Annotated[
        bool,
        typer.Option(
            "--include-seen",
            help="Also score models on documents that they were trained on, and mark them.",
        ),
    ] = False
    sweep: Annotated[
        list[sweeps.SweepName] | None,
        typer.Option(
            rich_help_panel=_SWEEPS_AND_CURVES,
            help="Vary one factor: context length, pool size, window policy, position in the "
            "document, or how far back the context reaches. Takes several values.",
        ),
    ] = None
    set: Annotated[
        Literal["eras", "latest"],
        typer.Option(rich_help_panel=_SWEEPS_AND_CURVES, help="Held-out set of a sweep."),
    ] = "eras"
    positions: Annotated[
        int,
        typer.Option(
            rich_help_panel=_SWEEPS_AND_CURVES,
            help="Positions of a sweep; the sweep over positions always uses all.",
        ),
    ] = 200
    pool_demo: Annotated[
        bool,
        typer.Option(
            "--pool-demo",
            rich_help_panel=_SWEEPS_AND_CURVES,
            help="Show how much Hit@5 of one baseline depends on the pool alone.",
        ),
    ] = False
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            rich_help_panel=_SWEEPS_AND_CURVES,
            help="Compare two report.json files: the second minus the first. Both must use the "
            "same pools.",
        ),
    ] = None
    curves: Annotated[
        list[Path] | None,
        typer.Option(
            rich_help_panel=_SWEEPS_AND_CURVES,
            help="Plot Hit@5 against vectors read, for training runs (.history.json or "
            ".unfinished.pt). Takes several values.",
        ),
    ] = None
    output: OutputFormat = "text"


@app.command(
    cls=CommandWithLists,
    epilog=examples(
        "nextvec evaluate checkpoints/phase-2.safetensors checkpoints/phase-3.safetensors:500 "
        "--data out/data/corpus.npz",
        "nextvec evaluate checkpoints/phase-3.safetensors --data out/data/corpus.npz "
        "--sweep context policy",
        "nextvec evaluate --compare before/report.json after/report.json",
    ),
)
@with_options(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Score models and baselines on the same held-out positions."""
    torch.set_num_threads(1)
    try:
        if options.compare:
            print(comparison.compare(*options.compare))
        elif options.curves:
            _curves(options.curves, options.out)
        elif options.pool_demo:
            print(pool_demo.demonstrate(corpus.load(_required(options.data))))
        else:
            _evaluate(options, Console(stderr=True))
    except (
        checkpoint.CheckpointError,
        comparison.ComparisonError,
        corpus.CorpusError,
        curves.CurveError,
        ValueError,
    ) as error:
        raise SystemExit(f"nextvec evaluate: {error}") from error


def _evaluate(options: EvaluateOptions, console: Console) -> None:
    if not options.checkpoints:
        raise ValueError("pass at least one checkpoint")
    data = _required(options.data)
    whole = corpus.load(data)
    models = load_all(options.checkpoints)
    if options.held_out:
        models = [_with_documents(model, whole, options.held_out) for model in models]
    pool = PoolSpec(options.pool_kind, options.pool, options.seed)
    if options.sweep:
        spec = sweeps.SweepSpec(
            options.sweep, options.set, options.positions, pool, options.include_seen
        )
        sweeps.run(spec, whole, models, options.out, console, options.output)
        return

    def predict(model: EvaluatedModel, one: HeldOutSet, targets: NDArray[np.int64]) -> Vectors:
        return _predict(model, one, targets, console)

    report, all_scores = evaluation.evaluate(
        whole,
        EvaluationData(
            file=data.name,
            sha256=sha256(data),
            vectors=len(whole.vectors),
            documents=len(whole.documents),
        ),
        models,
        pool,
        predict,
        include_seen=options.include_seen,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    text = report_markdown(report)
    (options.out / "report.md").write_text(text)
    comparison.save_scores(options.out / "report.npz", all_scores)
    report_picture(report, options.out / "report.png")
    # Written last: where it exists, the other files do.
    (options.out / "report.json").write_text(report.model_dump_json(indent=1) + "\n")
    if options.output == "json":
        print_json_file(options.out / "report.json")
        return
    print(f"{text}\nwritten to {options.out}/report.md, report.json and report.png")


def _curves(histories: list[Path], out: Path) -> None:
    runs = curves.load(histories)
    out.mkdir(parents=True, exist_ok=True)
    curves_picture(runs, out / "curves.png")
    print(f"{curves.table(runs)}\n\nwritten to {out}/curves.png")


def _required(data: Path | None) -> Path:
    if data is None:
        raise ValueError("pass the data set with --data")
    return data


def _with_documents(model: EvaluatedModel, whole: Corpus, hold_out: HoldOut) -> EvaluatedModel:
    """Assume the given hold-out for a checkpoint that does not record its training documents."""
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
