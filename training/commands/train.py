"""`nextvec train`: train a recipe on a data set."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from architectures import checkpoint
from architectures.model import NextVectorModel
from corpora import corpus
from service.commands.options import OutputFormat, examples, new_app, with_options
from service.commands.progress import ProgressBar
from service.commands.terminal import make_console, print_json
from service.manifest import sha256
from training import held_out, recipe, trainer
from training.checkpoint_store import CheckpointStore, ResumeError
from training.commands import staged_train
from training.held_out import HoldOut
from training.plots import learning_curve
from training.recipe import Recipe
from training.stages import recipe as staged_recipe

app = new_app()


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `nextvec train`."""

    recipe: Annotated[
        str, typer.Argument(help="Name of a shipped recipe (phase-2, phase-3, …) or a TOML file.")
    ]
    data: Annotated[Path, typer.Option(help="Data set (.npz), as written by nextvec data.")]
    out: Annotated[Path, typer.Option(help="Directory for the results.")] = Path("out/train")
    start: Annotated[
        Path | None, typer.Option(help="Checkpoint to start from instead of random weights.")
    ] = None
    epochs: Annotated[int | None, typer.Option(help="Number of epochs; overrides the recipe.")] = (
        None
    )
    seed: Annotated[int | None, typer.Option(help="Random seed; overrides the recipe.")] = None
    hold_out: Annotated[
        HoldOut,
        typer.Option(
            help="Documents to hold out: every eighth (eras), the latest, or both.",
        ),
    ] = "eras"
    hold_out_genre: Annotated[
        list[str] | None,
        typer.Option(
            help="Genre or source to hold out as a whole, for a recipe with stages. Repeatable."
        ),
    ] = None
    validation_genre: Annotated[
        list[str] | None,
        typer.Option(
            help="Genre or source to leave out of training and choose the weights and the step's "
            "length by, for a recipe with stages. Repeatable."
        ),
    ] = None
    device: Annotated[
        Literal["auto", "cuda", "cpu"],
        typer.Option(help="Device of a recipe with stages; auto is CUDA if there is any."),
    ] = "auto"
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Start over instead of resuming an unfinished run in --out."
        ),
    ] = False
    output: OutputFormat = "text"


@app.command(
    epilog=examples(
        "nextvec train phase-2 --data out/data/corpus.npz",
        "nextvec train phase-2-library --data out/data/corpus.npz --hold-out-genre encyclopedic",
        "nextvec train phase-3 --data out/data/corpus.npz --start checkpoints/phase-2.safetensors",
    )
)
@with_options(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train a model; write its checkpoint, history and learning curve.

    An interrupted run resumes from its last completed epoch when it is started again, or from
    its last saved state if the recipe has stages.
    """
    try:
        path = recipe_path(options.recipe)
        if staged_recipe.is_staged(path):
            staged_train.run(options, path)
            return
        _refuse_staged_options(options, path)
        chosen = recipe.load(path)
        chosen = recipe.override(chosen, epochs=options.epochs, seed=options.seed)
        split = held_out.split(corpus.load(options.data), options.hold_out)
        start = None if options.start is None else _start(options.start, chosen)
        start_metadata = None if options.start is None else checkpoint.metadata(options.start)
        if start_metadata is not None:
            held_out.check_start(start_metadata, split.held_out)
        digest = sha256(options.data)
        store = _store(options, chosen, digest)
    except (recipe.RecipeError, corpus.CorpusError, checkpoint.CheckpointError) as error:
        raise SystemExit(f"nextvec train: {error}") from error
    console = make_console(stderr=True)
    console.print(
        f"{chosen.name}: {len(split.train.vectors)} vectors to train on, "
        f"{len(split.held_out.vectors)} held out by document"
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with ProgressBar(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("starting")

        def show(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text.partition(",")[0])
            if "Hit@5" in text or "resuming" in text:
                bar.console.print(text)

        try:
            result = trainer.train(split, chosen, show, start, store=store)
        except ResumeError as error:
            raise SystemExit(f"nextvec train: {error}") from error
        except ValueError as error:
            raise SystemExit(f"nextvec train: {options.data}: {error}") from error
    split_metadata = held_out.metadata(split.train, options.hold_out, digest, start_metadata)
    target = _write(options.out, chosen, result, split_metadata)
    store.remove()
    if options.output == "json":
        print_json({"path": str(target), **asdict(result.best)})
        return
    print(f"{target}: Hit@5 {result.best.hit_at_5:.4f} at epoch {result.best.epoch}")


def _refuse_staged_options(options: TrainOptions, path: Path) -> None:
    if options.hold_out_genre or options.validation_genre:
        raise recipe.RecipeError(f"{path} has no stages: it cannot leave out genres")
    if options.device == "cuda":
        raise recipe.RecipeError(
            f"{path} has no stages: it trains on the CPU; phase-2-library trains on a GPU"
        )


def _start(path: Path, chosen: Recipe) -> NextVectorModel:
    model = checkpoint.load(path)
    if chosen.architecture != model.ARCHITECTURE:
        raise checkpoint.CheckpointError(
            f"{path} has the architecture {model.ARCHITECTURE}, but {chosen.name} uses "
            f"{chosen.architecture}: start from a checkpoint of the same architecture"
        )
    return model


def _store(options: TrainOptions, chosen: Recipe, dataset_sha256: str) -> CheckpointStore:
    """Return the store of the unfinished run, keyed by everything that determines its result."""
    run = {
        "recipe": asdict(chosen),
        "dataset_sha256": dataset_sha256,
        "hold_out": options.hold_out,
        "start_sha256": None if options.start is None else sha256(options.start),
    }
    store = CheckpointStore(
        options.out / f"{chosen.name}.unfinished.pt", json.dumps(run, sort_keys=True)
    )
    if options.restart:
        store.remove()
    return store


def _write(
    out: Path, chosen: Recipe, result: trainer.TrainingResult, split_metadata: Mapping[str, str]
) -> Path:
    """Write history, learning curve and checkpoint, in this order."""
    out.mkdir(parents=True, exist_ok=True)
    data = {key: split_metadata[key] for key in ("dataset_sha256", "hold_out")}
    history = json.dumps({**result.as_json(chosen), "data": data}, indent=1)
    (out / f"{chosen.name}.history.json").write_text(history + "\n")
    learning_curve(result.history, chosen.name, out / f"{chosen.name}.png")
    target = out / f"{chosen.name}.safetensors"
    metadata = {
        "recipe": chosen.name,
        "window": str(chosen.window),
        "best_epoch": str(result.best.epoch),
        **split_metadata,
    }
    checkpoint.save(result.model, target, metadata)
    return target


def recipe_path(name: str) -> Path:
    """Return the file of a shipped recipe, by name, or of any recipe, by path."""
    if "/" in name or name.endswith(".toml"):
        return Path(name)
    known = Path(str(resources.files("training") / "recipes"))
    path = known / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in known.glob("*.toml")))
        sys.exit(f"nextvec train: there is no recipe {name!r}; the shipped ones are {names}")
    return path
