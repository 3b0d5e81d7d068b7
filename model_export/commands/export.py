"""`nextvec export`: a checkpoint to a version that the service can load."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from architectures import checkpoint
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from architectures.model import NextVectorModel
from corpora.corpus import CorpusError
from corpora.sample import load_vectors
from model_export import (
    checkpoint_report,
    device_graphs,
    graph_factory,
    gru_graph,
    parity,
    publication,
    session_drift,
    step_latency,
)
from service.errors import NextvecError
from service.evaluation_report import ReportError
from service.inference.engines import precision
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import OnnxEngine
from service.manifest import (
    MODEL,
    NAME,
    STEP_INT8,
    Dimensions,
    Manifest,
    Parity,
    Precision,
    PrecisionInfo,
    StepLatency,
    sha256,
)

LARGEST_WINDOW = 65_536

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOOLS = ("nextvec", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a .safetensors or .pt file")
    parser.add_argument("--version", type=_name, required=True, help="its name, e.g. phase-3")
    parser.add_argument(
        "--context-window",
        type=_window,
        required=True,
        help="vectors it was trained to read, e.g. 1000",
    )
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="the model repository (%(default)s)"
    )
    parser.add_argument(
        "--model", type=_name, default="next-vector", help="the model's name there (%(default)s)"
    )
    parser.add_argument(
        "--window-policy",
        choices=("exact", "anchored"),
        default="exact",
        help="what a session does past the window (%(default)s)",
    )
    parser.add_argument(
        "--int8",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="carry a step with 8-bit weights for the CPU (default: yes; some seconds, 12 MB)",
    )
    parser.add_argument(
        "--fp16",
        action="store_true",
        help="carry what a GPU serves with: fp16, and steps whose states stay on the device in "
        "fp16 and fp32 (86 MB more)",
    )
    parser.add_argument(
        "--step-latency",
        action="store_true",
        help="record how long a step takes on this machine, for a rollout's gate",
    )
    parser.add_argument(
        "--evaluation", type=Path, help="the report.json of nextvec evaluate on this checkpoint"
    )


def run(args: argparse.Namespace) -> int:
    console = Console(stderr=True)
    # A GRU step is too small to share: more threads gain nothing when the cores are
    # free, and wait for each other when they are not.
    torch.set_num_threads(1)
    try:
        published = _export(args, console)
    except (
        checkpoint.CheckpointError,
        ReportError,
        parity.ParityError,
        publication.PublishError,
        CorpusError,
        NextvecError,
        OSError,
    ) as error:
        raise SystemExit(f"nextvec export: {error}; nothing was published") from error
    final = args.models / args.model / args.version
    print(
        f"{final}: sha256 {published.files[MODEL]}, "
        f"parity {published.parity.max_abs_difference:.1e} "
        f"over {len(published.parity.cases)} cases (bound {published.parity.bound:.0e})"
    )
    return 0


def _export(args: argparse.Namespace, console: Console) -> Manifest:
    publication.check_absent(args.models, args.model, args.version)
    console.print(f"reading {args.checkpoint}")
    model = checkpoint.load(args.checkpoint)
    source = sha256(args.checkpoint)
    figures = None
    if args.evaluation is not None:
        figures = checkpoint_report.for_manifest(args.evaluation, source, args.context_window)
    with publication.staged(args.models, args.model, args.version) as directory:
        console.print(f"writing the graph (opset {gru_graph.OPSET}, constants folded)")
        path = directory / MODEL
        path.write_bytes(gru_graph.serialise(graph_factory.build(model)))
        dimensions = model.dimensions
        engine = OnnxEngine(path, dimensions)
        console.print(f"comparing it with PyTorch on {engine.provider}")
        same = _measure(model, engine, args.context_window, console)
        steps: dict[Precision, Engine] = {}
        if args.int8:
            steps["int8"] = _step_int8(model, directory, dimensions)
        if args.fp16:
            if not isinstance(model, MemoryAugmentedGRU):
                raise parity.ParityError(
                    f"--fp16 is for {MemoryAugmentedGRU.ARCHITECTURE}; {args.checkpoint} is of "
                    f"{model.ARCHITECTURE}, whose products are too few to gain by it: leave it out"
                )
            steps["fp16"] = device_graphs.write(model, directory, engine)
        precisions = _carried(engine, steps, args.context_window, console)
        manifest = Manifest(
            model=args.model,
            version=args.version,
            architecture=model.ARCHITECTURE,
            dimensions=dimensions,
            context_window=args.context_window,
            window_policy=args.window_policy,
            precision="fp32",
            parameters=model.trainable,
            opset=gru_graph.OPSET,
            files={file.name: sha256(file) for file in sorted(directory.iterdir())},
            source_sha256=source,
            parity=same,
            precisions=precisions,
            evaluation=figures,
            tools=_tools(),
        )
        if args.step_latency:
            measured = _step_latency(manifest, {"fp32": engine, **steps}, console)
            manifest = manifest.model_copy(update={"step_latency": measured})
        (directory / NAME).write_text(manifest.model_dump_json(indent=2) + "\n")
    return manifest


def _step_int8(model: NextVectorModel, directory: Path, dimensions: Dimensions) -> Engine:
    path = directory / STEP_INT8
    path.write_bytes(gru_graph.serialise(graph_factory.build_step_int8(model)))
    return OnnxEngine(path, dimensions)


def _step_latency(
    manifest: Manifest, engines: Mapping[Precision, Engine], console: Console
) -> StepLatency:
    """Of the step that a service on this machine takes by default."""
    chosen = precision.choose(manifest, "auto", engines["fp32"].provider)
    console.print(f"measuring {step_latency.STEPS} steps in {chosen}")
    return step_latency.measure(engines[chosen], chosen)


def _measure(model: NextVectorModel, engine: Engine, window: int, console: Console) -> Parity:
    with _bar(console, "parity") as show:
        return parity.measure(model, engine, parity.cases(window), progress=show)


def _carried(
    full: Engine, others: Mapping[Precision, Engine], window: int, console: Console
) -> dict[Precision, PrecisionInfo]:
    names = ", ".join(("fp32", *others))
    console.print(
        f"carrying a session over {session_drift.STEPS:,} vectors of the sample in {names}"
    )
    with _bar(console, "session") as show:
        found = session_drift.measure(full, others, load_vectors(), window, progress=show)
    for name, carried in found.items():
        near = "" if carried.drift is None else f", cosine at least {carried.drift.min_cosine:.6f}"
        console.print(f"{name}: Hit@5 {carried.hits.hit_at_5:.1%}{near}")
    return found


@contextmanager
def _bar(console: Console, name: str) -> Iterator[Callable[[int, int, str], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name)

        def show(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{name}: {text}")

        yield show


def _tools() -> dict[str, str]:
    """Versions of what made the version; ONNX Runtime goes by one of two names."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a name: a letter or digit, then up to 63 letters, digits, . _ or -"
        )
    return text


def _window(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= LARGEST_WINDOW:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of vectors from 1 to {LARGEST_WINDOW}"
        )
    return int(text)
