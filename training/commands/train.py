"""`nextvec train`: a corpus and a recipe to a checkpoint, its history and its curve."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from architectures import checkpoint
from architectures.model import NextVectorModel
from corpora import corpus
from service.manifest import sha256
from training import held_out, recipe
from training.checkpoint_store import CheckpointStore, ResumeError
from training.plots import learning_curve
from training.recipe import Recipe
from training.trainer import TrainingResult, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="phase-2, phase-3, …, or the path of a recipe's TOML file")
    parser.add_argument("--data", type=Path, required=True, help="the corpus (.npz)")
    parser.add_argument("--out", type=Path, default=Path("out/train"), help="where results go")
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--hold-out",
        choices=held_out.HOLD_OUT,
        default="eras",
        help="every eighth document, the latest, or both (%(default)s)",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="begin anew where an unfinished run in --out could be gone on from",
    )


def run(args: argparse.Namespace) -> int:
    try:
        chosen = recipe.load(recipe_path(args.recipe))
        chosen = recipe.override(chosen, epochs=args.epochs, seed=args.seed)
        split = held_out.split(corpus.load(args.data), args.hold_out)
        start = None if args.start is None else _start(args.start, chosen)
        start_says = None if args.start is None else checkpoint.metadata(args.start)
        if start_says is not None:
            held_out.check_start(start_says, split.held_out)
        digest = sha256(args.data)
        store = _store(args, chosen, digest)
    except (recipe.RecipeError, corpus.CorpusError, checkpoint.CheckpointError) as error:
        raise SystemExit(f"nextvec train: {error}") from error
    console = Console(stderr=True)
    console.print(
        f"{chosen.name}: {len(split.train.vectors)} vectors to train on, "
        f"{len(split.held_out.vectors)} held out by document"
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("starting")

        def show(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text.partition(",")[0])
            if "Hit@5" in text or "resuming" in text:
                bar.console.print(text)

        try:
            result = train(split, chosen, show, start, store=store)
        except ResumeError as error:
            raise SystemExit(f"nextvec train: {error}") from error
        except ValueError as error:
            raise SystemExit(f"nextvec train: {args.data}: {error}") from error
    said = held_out.metadata(split.train, args.hold_out, digest, start_says)
    target = _write(args.out, chosen, result, said)
    store.remove()
    print(f"{target}: Hit@5 {result.best.hit_at_5:.4f} at epoch {result.best.epoch}")
    return 0


def _start(path: Path, chosen: Recipe) -> NextVectorModel:
    model = checkpoint.load(path)
    if chosen.architecture != model.ARCHITECTURE:
        raise checkpoint.CheckpointError(
            f"{path}: is of the architecture {model.ARCHITECTURE}, and {chosen.name} of "
            f"{chosen.architecture}: start from one of the same"
        )
    return model


def _store(args: argparse.Namespace, chosen: Recipe, dataset_sha256: str) -> CheckpointStore:
    """The store of this run's state, identified by everything that decides the run."""
    run = {
        "recipe": asdict(chosen),
        "dataset_sha256": dataset_sha256,
        "hold_out": args.hold_out,
        "start_sha256": None if args.start is None else sha256(args.start),
    }
    store = CheckpointStore(
        args.out / f"{chosen.name}.unfinished.pt", json.dumps(run, sort_keys=True)
    )
    if args.restart:
        store.remove()
    return store


def _write(out: Path, chosen: Recipe, result: TrainingResult, said: Mapping[str, str]) -> Path:
    """The checkpoint, the history and the curve; the checkpoint last."""
    out.mkdir(parents=True, exist_ok=True)
    data = {key: said[key] for key in ("dataset_sha256", "hold_out")}
    history = json.dumps({**result.as_json(chosen), "data": data}, indent=1)
    (out / f"{chosen.name}.history.json").write_text(history + "\n")
    learning_curve(result.history, chosen.name, out / f"{chosen.name}.png")
    target = out / f"{chosen.name}.safetensors"
    metadata = {
        "recipe": chosen.name,
        "window": str(chosen.window),
        "best_epoch": str(result.best.epoch),
        **said,
    }
    checkpoint.save(result.model, target, metadata)
    return target


def recipe_path(name: str) -> Path:
    """A shipped recipe's file by its name, or any file by its path."""
    if "/" in name or name.endswith(".toml"):
        return Path(name)
    known = Path(str(resources.files("training") / "recipes"))
    path = known / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in known.glob("*.toml")))
        sys.exit(f"nextvec train: there is no recipe {name!r}; there are {names}")
    return path
