"""`nextvec experiment`: compare two training arms and give a verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from architectures import checkpoint
from architectures.model import NextVectorModel
from corpora import corpus
from corpora.corpus import Corpus, CorpusError, CorpusSplit
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    print_json_file,
    with_options,
)
from service.commands.progress import ProgressBar
from service.commands.terminal import make_console
from service.manifest import sha256
from training import held_out, recipe
from training.commands.train import recipe_path
from training.experiments import experiment, verdict
from training.experiments.experiment import ExperimentArm, ExperimentResult
from training.experiments.negatives import mine
from training.experiments.verdict import ExperimentVerdict
from training.held_out import HoldOut
from training.recipe import Recipe
from training.trainer import Progress as Show

PER_TARGET = 8
"""Largest number of hard negatives per target."""


app = new_app(no_args_is_help=True)


@app.callback(
    help="Train two arms that differ in one setting and compare them.",
    epilog=examples(
        "nextvec experiment plateau --data out/data/corpus.npz --alpha 0.03 0.05",
        "nextvec experiment probe --data out/data/corpus.npz "
        "--start checkpoints/phase-2.safetensors",
    ),
)
def _experiment() -> None:
    """Make `plateau` and `probe` subcommands."""


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """Options of every experiment."""

    data: Annotated[Path, typer.Option(help="Data set (.npz), as written by nextvec data.")]
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a TOML file.")] = (
        "phase-2"
    )
    start: Annotated[Path | None, typer.Option(help="Checkpoint that both arms start from.")] = None
    epochs: Annotated[int, typer.Option(help="Number of epochs of each arm.")] = 1
    window: Annotated[
        int | None, typer.Option(help="Context window in vectors; overrides the recipe.")
    ] = None
    batch: Annotated[int | None, typer.Option(help="Batch size; overrides the recipe.")] = None
    seed: Annotated[int | None, typer.Option(help="Random seed; overrides the recipe.")] = None
    share: Annotated[float, typer.Option(help="Share of the training data to use, 0 to 1.")] = 0.1
    hold_out: Annotated[
        HoldOut,
        typer.Option(help="Documents to hold out: every eighth (eras), the latest, or both."),
    ] = "both"
    out: Annotated[Path, typer.Option(help="Directory for the report.")] = Path("out/experiment")
    output: OutputFormat = "text"


@dataclass(frozen=True, kw_only=True)
class PlateauOptions(ExperimentOptions):
    """Options of `nextvec experiment plateau`."""

    alpha: Annotated[
        tuple[float, float], typer.Option(help="The two weights of InfoNCE to compare.")
    ] = (0.03, 0.05)
    margin: Annotated[
        float, typer.Option(help="Percentage points of Hit@5 that count as no difference.")
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class ProbeOptions(ExperimentOptions):
    """Options of `nextvec experiment probe`."""

    cosine: Annotated[
        tuple[float, float],
        typer.Option(help="Range of the cosine between a hard negative and its target."),
    ] = (0.75, 0.90)


@app.command(epilog=examples("nextvec experiment plateau --data out/data/corpus.npz"))
@with_options(PlateauOptions)
def plateau(options: PlateauOptions) -> None:
    """Test whether the weight of InfoNCE changes Hit@5."""
    _run("plateau", options)


@app.command(epilog=examples("nextvec experiment probe --data out/data/corpus.npz"))
@with_options(ProbeOptions)
def probe(options: ProbeOptions) -> None:
    """Test whether hard negatives improve Hit@5 and Hit@10."""
    _run("probe", options)


def _run(part: str, options: PlateauOptions | ProbeOptions) -> None:
    torch.set_num_threads(1)
    try:
        whole = corpus.load(options.data)
        split = held_out.split(whole, options.hold_out)
        chosen = recipe.load(recipe_path(options.recipe))
        chosen = recipe.override(
            chosen,
            epochs=options.epochs,
            window=options.window,
            batch=options.batch,
            seed=options.seed,
        )
        start = None if options.start is None else _start(options.start, split)
        found = _train_arms(options, whole, split, chosen, start)
    except (
        checkpoint.CheckpointError,
        CorpusError,
        recipe.RecipeError,
        ValueError,
    ) as error:
        raise SystemExit(f"nextvec experiment {part}: {error}") from error
    verdicts = [_verdict(options, result) for result in found.results]
    _write(part, options.out, found, verdicts, options.output)


def _start(path: Path, split: CorpusSplit) -> tuple[str, NextVectorModel]:
    model = checkpoint.load(path)
    held_out.check_start(checkpoint.metadata(path), split.held_out)
    return f"{path.name} (sha256 {sha256(path)[:12]}…)", model


def _train_arms(
    options: PlateauOptions | ProbeOptions,
    whole: Corpus,
    split: CorpusSplit,
    chosen: Recipe,
    start: tuple[str, NextVectorModel] | None,
) -> ExperimentResult:
    console = make_console(stderr=True)
    thin = experiment.thin(split, options.share)
    if isinstance(options, PlateauOptions):
        before, after = options.alpha
        arms = (
            ExperimentArm(f"α {before}", replace(chosen, alpha=before)),
            ExperimentArm(f"α {after}", replace(chosen, alpha=after)),
        )
    else:
        low, high = options.cosine
        negatives = mine(thin.train.vectors, split.train.vectors, low, high, PER_TARGET)
        name = f"hard negatives ({negatives.share:.1%} of targets have one)"
        arms = (ExperimentArm("without", chosen), ExperimentArm(name, chosen, negatives))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with ProgressBar(*columns, TimeRemainingColumn(), console=console) as bar:

        def progress(name: str) -> Show:
            task = bar.add_task(name)

            def show(done: int, total: int, text: str) -> None:
                bar.update(task, completed=done, total=total, description=f"{name}: {text}")

            return show

        return experiment.run(whole, thin, arms, start, progress)


def _verdict(
    options: PlateauOptions | ProbeOptions, result: experiment.ArmComparison
) -> ExperimentVerdict:
    if isinstance(options, PlateauOptions):
        return verdict.plateau(result.of("hit_at_5").estimate, options.margin / 100)
    return verdict.probe(result.of("hit_at_5").estimate, result.of("hit_at_10").estimate)


def _write(
    part: str,
    out: Path,
    found: ExperimentResult,
    verdicts: Sequence[ExperimentVerdict],
    output: str,
) -> None:
    named = [
        (result.name, verdict) for result, verdict in zip(found.results, verdicts, strict=True)
    ]
    lines = [f"**{name}: {item.word}.** {item.reason}." for name, item in named]
    text = "\n".join([found.as_markdown(), "", *lines, ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{part}.md").write_text(text)
    content = {**found.as_json(), "verdicts": {name: asdict(item) for name, item in named}}
    (out / f"{part}.json").write_text(json.dumps(content, indent=1) + "\n")
    if output == "json":
        print_json_file(out / f"{part}.json")
        return
    print(f"{text}\nwritten to {out}/{part}.md and .json")
