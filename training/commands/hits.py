"""`nextvec evaluate hits`: record the hits of models on a text, session by session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.commands.options import OutputFormat, print_json_file
from service.manifest import sha256
from training import evaluation, further_sets, session_hits
from training.evaluated_model import load_all
from training.session_hits import HitSequences


@dataclass(frozen=True, kw_only=True)
class HitsOptions:
    """Options of `nextvec evaluate hits`."""

    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT:WINDOW",
            help="Checkpoints to record, stable first. The window, in vectors, is optional.",
        ),
    ] = None
    foreign: Annotated[
        Path | None,
        typer.Option(help="Text (.npz with vectors_int8 and scale) that no model was trained on."),
    ] = None
    session_length: Annotated[int, typer.Option(min=2, help="Vectors in a session.")] = 40
    seed: Annotated[int, typer.Option(help="Random seed of the order of the sessions.")] = 0
    out: Annotated[Path, typer.Option(help="Directory for the recording.")] = Path("out/evaluate")
    output: OutputFormat = "text"


def run(options: HitsOptions, console: Console) -> None:
    """Record every model; write `hits-<text>.json`, and print a table or the JSON.

    Raises `ValueError`, `CorpusError` and `CheckpointError`.
    """
    if not options.checkpoints:
        raise ValueError("pass at least one checkpoint")
    if options.foreign is None:
        raise ValueError("pass the text with --foreign")
    models = load_all(options.checkpoints)
    text = further_sets.foreign(options.foreign)
    evaluation.check_held_out(models, text)
    for model in models:
        session_hits.check_window(model, options.session_length)
    sessions = session_hits.cut_sessions(text.corpus, options.session_length)
    hits = {}
    for model in models:
        with console.status(f"recording {model.name}"):
            hits[model.name] = session_hits.score_sessions(model, sessions, options.seed)
    length, digest = options.session_length, sha256(options.foreign)
    found = HitSequences(options.foreign.name, digest, length, hits)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"hits-{re.sub('[^A-Za-z0-9._-]', '-', text.name)}.json"
    found.save(path)
    if options.output == "json":
        print_json_file(path)
        return
    print(f"{found.table()}\n\nwritten to {path}; nextvec simulate --quality --hits {path}")
