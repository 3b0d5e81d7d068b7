"""`nextvec export`: a checkpoint to a version that the service can load."""

from __future__ import annotations

import argparse
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from loadtest import streams
from model_export import (
    checkpoint,
    drift,
    evaluation,
    graph,
    parity,
    publish,
    step_graph,
    step_latency,
)
from model_export.architecture import DIM, HIDDEN, LAYERS, PARAMETERS, MemoryAugmentedGRU
from service.errors import NextvecError
from service.inference.onnx_engine import OnnxEngine
from service.manifest import (
    MODEL,
    NAME,
    STEP_INT8,
    Dimensions,
    Manifest,
    Parity,
    StepLatency,
    StepParity,
    sha256,
)

ARCHITECTURE = "memory-augmented-gru"
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
        action="store_true",
        help="add a step with 8-bit weights, held against fp32 over 2,000 steps",
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
        evaluation.EvaluationError,
        parity.ParityError,
        publish.PublishError,
        streams.StreamError,
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
    publish.check_absent(args.models, args.model, args.version)
    console.print(f"reading {args.checkpoint}")
    model = checkpoint.load(args.checkpoint)
    source = sha256(args.checkpoint)
    figures = None
    if args.evaluation is not None:
        figures = evaluation.of_checkpoint(args.evaluation, source, args.context_window)
    with publish.staged(args.models, args.model, args.version) as directory:
        console.print(f"writing the graph (opset {graph.OPSET}, constants folded)")
        path = directory / MODEL
        path.write_bytes(graph.serialise(graph.build(model)))
        dimensions = Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN)
        engine = OnnxEngine(path, dimensions)
        step = _step_int8(model, engine, directory, console) if args.int8 else None
        console.print(f"comparing it with PyTorch on {engine.provider}")
        manifest = Manifest(
            model=args.model,
            version=args.version,
            architecture=ARCHITECTURE,
            dimensions=dimensions,
            context_window=args.context_window,
            window_policy=args.window_policy,
            precision="fp32",
            parameters=PARAMETERS,
            opset=graph.OPSET,
            files={file.name: sha256(file) for file in sorted(directory.iterdir())},
            source_sha256=source,
            parity=_measure(model, engine, console),
            step_int8=step,
            step_latency=_step_latency(engine, directory, console) if args.step_latency else None,
            evaluation=figures,
            tools=_tools(),
        )
        (directory / NAME).write_text(manifest.model_dump_json(indent=2) + "\n")
    return manifest


def _step_int8(
    model: MemoryAugmentedGRU, full: OnnxEngine, directory: Path, console: Console
) -> StepParity:
    console.print(f"writing the step with 8-bit weights, and carrying {drift.STEPS} steps on both")
    path = directory / STEP_INT8
    path.write_bytes(graph.serialise(step_graph.build(model)))
    return drift.measure(full, OnnxEngine(path, full.dimensions), streams.load().vectors)


def _step_latency(full: OnnxEngine, directory: Path, console: Console) -> StepLatency:
    """Of the step that a service on the CPU takes by default: 8-bit where there is one."""
    console.print(f"measuring {step_latency.STEPS} steps")
    fast = directory / STEP_INT8
    if fast.exists():
        return step_latency.measure(OnnxEngine(fast, full.dimensions), "int8")
    return step_latency.measure(full, "fp32")


def _measure(model: MemoryAugmentedGRU, engine: OnnxEngine, console: Console) -> Parity:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("parity")

        def show(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=f"parity: {text}")

        return parity.measure(model, engine, progress=show)


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
