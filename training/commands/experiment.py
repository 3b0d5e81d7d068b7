"""`nextvec experiment`: the plateau and the hard-negatives probe, each with a verdict."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from architectures import checkpoint
from architectures.model import NextVectorModel
from corpora import corpus
from corpora.corpus import Corpus, CorpusError, CorpusSplit
from service.manifest import sha256
from training import held_out, recipe
from training.commands.train import recipe_path
from training.experiments import experiment, verdict
from training.experiments.experiment import ExperimentArm, ExperimentResult
from training.experiments.negatives import mine
from training.experiments.verdict import ExperimentVerdict
from training.recipe import Recipe
from training.trainer import Progress as Show

PER_TARGET = 8
"""Hard negatives of a target, at most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", required=True, metavar="EXPERIMENT")
    plateau = parts.add_parser("plateau", help="does another weight of InfoNCE change anything?")
    plateau.add_argument(
        "--alpha", nargs=2, type=float, default=(0.03, 0.05), help="the two weights (0.03 0.05)"
    )
    plateau.add_argument(
        "--margin", type=float, default=1.0, help="points of Hit@5 that are nothing (%(default)s)"
    )
    probe = parts.add_parser("probe", help="are hard negatives worth keeping?")
    probe.add_argument(
        "--cosine",
        nargs=2,
        type=float,
        default=(0.75, 0.90),
        help="of a hard negative with the target, least and most (0.75 0.90)",
    )
    for part in (plateau, probe):
        part.add_argument("--data", type=Path, required=True, help="the corpus (.npz)")
        part.add_argument("--recipe", default="phase-2", help="a recipe or its file (%(default)s)")
        part.add_argument("--start", type=Path, help="the checkpoint that both arms go on from")
        part.add_argument("--epochs", type=int, default=1, help="(%(default)s)")
        for name in ("window", "batch", "seed"):
            part.add_argument(f"--{name}", type=int, help="instead of the recipe's")
        part.add_argument("--share", type=float, default=0.1, help="of the data (%(default)s)")
        part.add_argument(
            "--hold-out", choices=held_out.HOLD_OUT, default="both", help="(%(default)s)"
        )
        part.add_argument("--out", type=Path, default=Path("out/experiment"), help="(%(default)s)")


def run(args: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    try:
        whole = corpus.load(args.data)
        split = held_out.split(whole, args.hold_out)
        chosen = recipe.load(recipe_path(args.recipe))
        chosen = recipe.override(
            chosen, epochs=args.epochs, window=args.window, batch=args.batch, seed=args.seed
        )
        start = None if args.start is None else _start(args.start, split)
        found, verdicts = _run(args, whole, split, chosen, start)
    except (
        checkpoint.CheckpointError,
        CorpusError,
        recipe.RecipeError,
        ValueError,
    ) as error:
        raise SystemExit(f"nextvec experiment {args.part}: {error}") from error
    _write(args, found, verdicts)
    return 0


def _start(path: Path, split: CorpusSplit) -> tuple[str, NextVectorModel]:
    model = checkpoint.load(path)
    held_out.check_start(checkpoint.metadata(path), split.held_out)
    return f"{path.name} (sha256 {sha256(path)[:12]}…)", model


def _run(
    args: argparse.Namespace,
    whole: Corpus,
    split: CorpusSplit,
    chosen: Recipe,
    start: tuple[str, NextVectorModel] | None,
) -> tuple[ExperimentResult, list[ExperimentVerdict]]:
    console = Console(stderr=True)
    thin = experiment.thin(split, args.share)
    if args.part == "plateau":
        before, after = args.alpha
        arms = (
            ExperimentArm(f"α {before}", replace(chosen, alpha=before)),
            ExperimentArm(f"α {after}", replace(chosen, alpha=after)),
        )
    else:
        low, high = args.cosine
        negatives = mine(thin.train.vectors, split.train.vectors, low, high, PER_TARGET)
        name = f"hard negatives ({negatives.share:.1%} of targets have one)"
        arms = (ExperimentArm("without", chosen), ExperimentArm(name, chosen, negatives))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:

        def progress(name: str) -> Show:
            task = bar.add_task(name)

            def show(done: int, total: int, text: str) -> None:
                bar.update(task, completed=done, total=total, description=f"{name}: {text}")

            return show

        found = experiment.run(whole, thin, arms, start, progress)
    return found, [_verdict(args, result) for result in found.results]


def _verdict(args: argparse.Namespace, result: experiment.ArmComparison) -> ExperimentVerdict:
    if args.part == "plateau":
        return verdict.plateau(result.of("hit_at_5").estimate, args.margin / 100)
    return verdict.probe(result.of("hit_at_5").estimate, result.of("hit_at_10").estimate)


def _write(
    args: argparse.Namespace, found: ExperimentResult, verdicts: Sequence[ExperimentVerdict]
) -> None:
    named = [
        (result.name, verdict) for result, verdict in zip(found.results, verdicts, strict=True)
    ]
    lines = [f"**{name}: {item.word}.** {item.reason}." for name, item in named]
    text = "\n".join([found.as_markdown(), "", *lines, ""])
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.part}.md").write_text(text)
    content = {**found.as_json(), "verdicts": {name: asdict(item) for name, item in named}}
    (args.out / f"{args.part}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"{text}\nwritten to {args.out}/{args.part}.md and .json")
