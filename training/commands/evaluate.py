"""`nextvec evaluate`: score models and baselines on the same held-out positions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

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
from service.commands.progress import ProgressBar
from service.commands.terminal import make_console, print_json
from service.evaluation_report import EvaluationData
from service.manifest import sha256
from training import comparison, curves, evaluation, further_sets, held_out, pool_demo
from training.commands import hits, sweeps
from training.evaluated_model import EvaluatedModel, load_all
from training.evaluation import PoolSpec
from training.held_out import HeldOutSet, HoldOut
from training.plots import curves_picture, report_picture
from training.prediction import predict_exact
from training.report_markdown import report_markdown


class EvaluateGroup(TyperGroup):
    """Runs `report` if the first argument is not a subcommand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["report", *args]
        return super().parse_args(ctx, args)


app = new_app(cls=EvaluateGroup, no_args_is_help=True)


@app.callback(
    help="Score models and baselines on the same held-out positions.",
    epilog=examples(
        "nextvec evaluate report checkpoints/phase-2.safetensors --data out/data/corpus.npz",
        "nextvec evaluate sweep checkpoints/phase-3.safetensors --data out/data/corpus.npz "
        "--vary context",
        "nextvec evaluate compare before/report.json after/report.json",
    ),
)
def _evaluate_group() -> None:
    """Make the commands below subcommands."""


Checkpoints = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT:WINDOW",
        help="Checkpoints to score. The window, in vectors, is optional; without it each "
        "model reads the window that it was trained with.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Options of the subcommands that score checkpoints."""

    checkpoints: Checkpoints = None
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
    output: OutputFormat = "text"


@dataclass(frozen=True, kw_only=True)
class ReportOptions(ScoreOptions):
    """Options of `nextvec evaluate report`."""

    foreign: Annotated[
        list[Path] | None,
        typer.Option(
            help="Further text (.npz with vectors_int8 and scale) to score on as a set of its "
            "own. Takes several values."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SweepOptions(ScoreOptions):
    """Options of `nextvec evaluate sweep`."""

    vary: Annotated[
        list[sweeps.SweepName] | None,
        typer.Option(
            help="The factor: context length, pool size, window policy, position in the "
            "document, or how far back the context reaches. Takes several values.",
        ),
    ] = None
    set: Annotated[Literal["eras", "latest"], typer.Option(help="Held-out set.")] = "eras"
    positions: Annotated[
        int, typer.Option(help="Positions; the sweep over positions always uses all.")
    ] = 200


@app.command(
    cls=CommandWithLists,
    epilog=examples(
        "nextvec evaluate report checkpoints/phase-2.safetensors "
        "checkpoints/phase-3.safetensors:500 --data out/data/corpus.npz --foreign mine.npz",
    ),
)
@with_options(ReportOptions)
def report(options: ReportOptions) -> None:
    """Score models and baselines on every held-out set, in one table."""
    _run(lambda: _report(options, make_console(stderr=True)))


@app.command(
    cls=CommandWithLists,
    epilog=examples(
        "nextvec evaluate sweep checkpoints/phase-3.safetensors --data out/data/corpus.npz "
        "--vary context policy",
    ),
)
@with_options(SweepOptions)
def sweep(options: SweepOptions) -> None:
    """Vary one factor and hold the others."""
    _run(lambda: _sweep(options, make_console(stderr=True)))


@app.command(epilog=examples("nextvec evaluate compare before/report.json after/report.json"))
def compare(
    first: Annotated[Path, typer.Argument(help="report.json of the earlier evaluation.")],
    second: Annotated[Path, typer.Argument(help="report.json of the later one.")],
    output: OutputFormat = "text",
) -> None:
    """Compare two reports on the same pools: the second minus the first."""
    _run(lambda: _print_text("comparing", lambda: comparison.compare(first, second), output))


@app.command(
    "hits",
    epilog=examples(
        "nextvec evaluate hits checkpoints/phase-2.safetensors checkpoints/phase-3m.safetensors "
        "--foreign mine.npz",
    ),
)
@with_options(hits.HitsOptions)
def record_hits(options: hits.HitsOptions) -> None:
    """Record hits in sessions of a text, for nextvec simulate --quality --hits."""
    _run(lambda: hits.run(options, make_console(stderr=True)))


@app.command("curves", epilog=examples("nextvec evaluate curves a.history.json b.history.json"))
def training_curves(
    histories: Annotated[
        list[Path], typer.Argument(help="Training runs (.history.json or .unfinished.pt).")
    ],
    out: Annotated[Path, typer.Option(help="Directory for the picture.")] = Path("out/evaluate"),
    output: OutputFormat = "text",
) -> None:
    """Plot Hit@5 against vectors read."""
    _run(lambda: _curves(histories, out, output))


@app.command(epilog=examples("nextvec evaluate pools --data out/data/corpus.npz"))
def pools(
    data: Annotated[
        Path | None, typer.Option(help="Data set (.npz), as written by nextvec data.")
    ] = None,
    output: OutputFormat = "text",
) -> None:
    """Show how much Hit@5 of one baseline depends on the pool alone."""
    _run(
        lambda: _print_text(
            "scoring", lambda: pool_demo.demonstrate(corpus.load(_required(data))), output
        )
    )


def _run(command: Callable[[], object]) -> None:
    torch.set_num_threads(1)
    try:
        command()
    except (
        checkpoint.CheckpointError,
        comparison.ComparisonError,
        corpus.CorpusError,
        curves.CurveError,
        ValueError,
    ) as error:
        raise SystemExit(f"nextvec evaluate: {error}") from error


def _inputs(options: ScoreOptions) -> tuple[Path, Corpus, list[EvaluatedModel], PoolSpec]:
    if not options.checkpoints:
        raise ValueError("pass at least one checkpoint")
    data = _required(options.data)
    whole = corpus.load(data)
    models = load_all(options.checkpoints)
    if options.held_out:
        models = [_with_documents(model, whole, options.held_out) for model in models]
    return data, whole, models, PoolSpec(options.pool_kind, options.pool, options.seed)


def _sweep(options: SweepOptions, console: Console) -> None:
    if not options.vary:
        raise ValueError("pass what to vary with --vary")
    _, whole, models, pool = _inputs(options)
    spec = sweeps.SweepSpec(
        options.vary, options.set, options.positions, pool, options.include_seen
    )
    sweeps.run(spec, whole, models, options.out, console, options.output)


def _report(options: ReportOptions, console: Console) -> None:
    data, whole, models, pool = _inputs(options)
    longest = max([options.pool, *(model.window for model in models)])
    further = [
        *further_sets.genres(data, whole, longest),
        *(further_sets.foreign(path) for path in options.foreign or ()),
    ]

    def predict(model: EvaluatedModel, one: HeldOutSet, targets: NDArray[np.int64]) -> Vectors:
        return _predict(model, one, targets, console)

    found, all_scores = evaluation.evaluate(
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
        further=further,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    text = report_markdown(found)
    (options.out / "report.md").write_text(text)
    comparison.save_scores(options.out / "report.npz", all_scores)
    report_picture(found, options.out / "report.png")
    # Written last: where it exists, the other files do.
    (options.out / "report.json").write_text(found.model_dump_json(indent=1) + "\n")
    if options.output == "json":
        print_json_file(options.out / "report.json")
        return
    print(f"{text}\nwritten to {options.out}/report.md, report.json and report.png")


def _print_text(doing: str, make: Callable[[], str], output: str) -> None:
    """Print a text in Markdown; as JSON, an object that holds it."""
    with make_console(stderr=True).status(doing):
        text = make()
    if output == "json":
        print_json({"markdown": text})
    else:
        print(text)


def _curves(histories: list[Path], out: Path, output: str) -> None:
    runs = curves.load(histories)
    out.mkdir(parents=True, exist_ok=True)
    curves_picture(runs, out / "curves.png")
    if output == "json":
        print_json(
            {
                "picture": str(out / "curves.png"),
                "runs": [
                    {
                        "name": run.name,
                        "vectors": list(run.vectors),
                        "hit_at_5": [epoch.hit_at_5 for epoch in run.history],
                        "best_epoch": run.best,
                    }
                    for run in runs
                ],
            }
        )
        return
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
    with ProgressBar(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(f"{model.name}, {one.name}", total=len(targets))
        return predict_exact(
            model.model,
            one.corpus.vectors,
            targets,
            model.window,
            lambda done: bar.update(task, completed=done),
            workers=os.cpu_count() or 1,
        )
