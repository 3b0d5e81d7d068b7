"""`nextvec train` with a recipe that has stages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from architectures import checkpoint
from architectures.model import NextVectorModel
from corpora.packed_corpus import open_corpus
from service.commands.progress import ProgressBar
from service.commands.terminal import make_console, print_json
from service.manifest import sha256
from training import held_out
from training.checkpoint_store import ResumeError
from training.stages import recipe as staged_recipe
from training.stages.recipe import StagedRecipe
from training.stages.run import StagedResult, choose_device, train_staged
from training.stages.split import StagedSplit, split
from training.stages.state import StagedStore

if TYPE_CHECKING:
    from training.commands.train import TrainOptions


def run(options: TrainOptions, path: Path) -> None:
    """Train by the staged recipe in `path`; write the checkpoint and the history.

    Raises `RecipeError`, `CorpusError` and `CheckpointError`; exits on other errors.
    """
    chosen = staged_recipe.override(staged_recipe.load(path), options.seed, options.epochs)
    packed = open_corpus(options.data)
    parts = split(
        packed, options.hold_out, options.hold_out_genre or (), options.validation_genre or ()
    )
    start, start_metadata = _start(options.start, chosen)
    if start_metadata is not None:
        held_out.check_start(start_metadata, packed.pack(parts.held_out))
    digest = sha256(options.data)
    store = _store(options, chosen, digest)
    console = make_console(stderr=True)
    console.print(
        f"{chosen.name}: {len(parts.train)} vectors to train on, "
        f"{int(packed.lengths[parts.held_out].sum())} held out by document, "
        f"{sum(len(one.corpus.vectors) for one in parts.validation)} for validation"
    )
    columns = (TextColumn("{task.description}"), BarColumn())
    with ProgressBar(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(done: float, text: str) -> None:
            if text.startswith("stage"):
                bar.update(task, completed=done, description=text)
            else:
                bar.console.print(text)

        try:
            device = choose_device(options.device)
            result = train_staged(parts, chosen, device, show, start, store)
        except ResumeError as error:
            raise SystemExit(f"nextvec train: {error}") from error
        except ValueError as error:
            raise SystemExit(f"nextvec train: {options.data}: {error}") from error
    metadata = held_out.metadata(parts.train, options.hold_out, digest, start_metadata)
    target = write(options.out, chosen, result, parts, metadata)
    store.remove()
    if options.output == "json":
        figures = {"scale": result.scale, "seconds": result.seconds, "device": str(result.device)}
        print_json({"path": str(target), **figures})
        return
    print(f"{target}: step scaled by {result.scale}, {result.seconds:.0f} s on {result.device}")


def write(
    out: Path,
    chosen: StagedRecipe,
    result: StagedResult,
    parts: StagedSplit,
    split_metadata: Mapping[str, str],
) -> Path:
    """Write the history and the checkpoint, in this order."""
    out.mkdir(parents=True, exist_ok=True)
    data = {key: split_metadata[key] for key in ("dataset_sha256", "hold_out")}
    history = json.dumps({**result.as_json(chosen), "data": data}, indent=1)
    (out / f"{chosen.name}.history.json").write_text(history + "\n")
    target = out / f"{chosen.name}.safetensors"
    # Validation chose the weights, so its documents were not unseen either.
    validation = sorted({name for one in parts.validation for name in held_out.names(one.corpus)})
    metadata = {
        "recipe": chosen.name,
        "window": str(chosen.window),
        "step_scale": str(result.scale),
        "validation_documents": json.dumps(validation),
        **split_metadata,
    }
    checkpoint.save(result.model, target, metadata)
    return target


def _start(
    path: Path | None, chosen: StagedRecipe
) -> tuple[NextVectorModel | None, dict[str, str] | None]:
    if path is None:
        return None, None
    model = checkpoint.load(path)
    if chosen.architecture != model.ARCHITECTURE:
        raise checkpoint.CheckpointError(
            f"{path} has the architecture {model.ARCHITECTURE}, but {chosen.name} uses "
            f"{chosen.architecture}: start from a checkpoint of the same architecture"
        )
    return model, checkpoint.metadata(path)


def _store(options: TrainOptions, chosen: StagedRecipe, dataset_sha256: str) -> StagedStore:
    """The store of the unfinished run, keyed by everything that determines its result."""
    run = {
        "recipe": asdict(chosen),
        "dataset_sha256": dataset_sha256,
        "hold_out": options.hold_out,
        "hold_out_genre": options.hold_out_genre,
        "validation_genre": options.validation_genre,
        "start_sha256": None if options.start is None else sha256(options.start),
    }
    store = StagedStore(
        options.out / f"{chosen.name}.unfinished.pt", json.dumps(run, sort_keys=True)
    )
    if options.restart:
        store.remove()
    return store
