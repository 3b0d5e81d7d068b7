"""`nextvec export`: turn a checkpoint into a version that the service can load."""

from __future__ import annotations

from model_export import one_blas_thread  # noqa: F401

# isort: split
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from architectures import weights_file
from architectures.model_weights import MEMORY_AUGMENTED_GRU, ModelWeights
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
from model_export.numpy_reference import NumpyReference
from service.commands.options import (
    OutputFormat,
    examples,
    new_app,
    with_options,
)
from service.commands.progress import ProgressBar
from service.commands.terminal import make_console, print_json
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


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise typer.BadParameter(
            f"{text!r} is not a name: a letter or digit, then up to 63 letters, digits, . _ or -"
        )
    return text


app = new_app()


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of `nextvec export`."""

    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors or .pt).")]
    version: Annotated[
        str, typer.Option(parser=_name, metavar="NAME", help="Name of the version, e.g. phase-3.")
    ]
    context_window: Annotated[
        int,
        typer.Option(
            min=1,
            max=LARGEST_WINDOW,
            help="How many of the latest vectors the service gives the model, e.g. 1000.",
        ),
    ]
    models: Annotated[Path, typer.Option(help="Model repository.")] = Path("models")
    model: Annotated[
        str,
        typer.Option(parser=_name, metavar="NAME", help="Name of the model in the repository."),
    ] = "next-vector"
    window_policy: Annotated[
        Literal["exact", "anchored"],
        typer.Option(
            help="What a session does past its window: recompute it exactly, or continue from "
            "an anchored second state."
        ),
    ] = "exact"
    int8: Annotated[
        bool,
        typer.Option(
            "--int8/--no-int8",
            help="Add a step with 8-bit weights for CPUs (takes some seconds and 12 MB).",
        ),
    ] = True
    fp16: Annotated[
        bool,
        typer.Option(
            "--fp16",
            help="Add GPU graphs: fp16 contexts, and fp16 and fp32 steps that keep states on the "
            "device (86 MB).",
        ),
    ] = False
    step_latency: Annotated[
        bool,
        typer.Option(
            "--step-latency",
            help="Measure a step on this machine and record it for the gate of a rollout.",
        ),
    ] = False
    reference: Annotated[
        Literal["auto", "pytorch", "numpy"],
        typer.Option(
            help="What the graph is compared with: the network in PyTorch, or in NumPy. By default "
            "PyTorch, if it is installed."
        ),
    ] = "auto"
    evaluation: Annotated[
        Path | None, typer.Option(help="report.json of nextvec evaluate for this checkpoint.")
    ] = None
    output: OutputFormat = "text"


@app.command(
    epilog=examples(
        "nextvec export checkpoints/phase-3.safetensors --version phase-3 --context-window 1000",
        "nextvec export my.pt --version phase-4 --context-window 1000 --step-latency "
        "--evaluation out/evaluate/report.json",
    )
)
@with_options(ExportOptions)
def export(options: ExportOptions) -> None:
    """Export a checkpoint as an ONNX version that the service can load.

    The graph is compared with the network first; a version that differs is not published.
    """
    console = make_console(stderr=True)
    try:
        published = _export(options, console)
    except (
        weights_file.CheckpointError,
        ReportError,
        parity.ParityError,
        publication.PublishError,
        CorpusError,
        NextvecError,
        OSError,
    ) as error:
        raise SystemExit(f"nextvec export: {error}; nothing was published") from error
    final = options.models / options.model / options.version
    if options.output == "json":
        print_json({"path": str(final), **published.model_dump(mode="json")})
        return
    print(
        f"{final}: sha256 {published.files[MODEL]}, "
        f"parity {published.parity.max_abs_difference:.1e} "
        f"over {len(published.parity.cases)} cases (bound {published.parity.bound:.0e})"
    )


def _export(options: ExportOptions, console: Console) -> Manifest:
    publication.check_absent(options.models, options.model, options.version)
    console.print(f"reading {options.checkpoint}")
    model = weights_file.load(options.checkpoint)
    source = sha256(options.checkpoint)
    figures = None
    if options.evaluation is not None:
        figures = checkpoint_report.for_manifest(options.evaluation, source, options.context_window)
    with publication.stage_version(options.models, options.model, options.version) as directory:
        console.print(f"writing the graph (opset {gru_graph.OPSET}, constants folded)")
        path = directory / MODEL
        path.write_bytes(gru_graph.serialise(graph_factory.build(model)))
        dimensions = model.dimensions
        engine = OnnxEngine(path, dimensions)
        reference = _reference(options.reference, model)
        console.print(f"comparing it with {reference.name} on {engine.provider}")
        same = _measure(reference, engine, options.context_window, console)
        steps: dict[Precision, Engine] = {}
        if options.int8:
            steps["int8"] = _step_int8(model, directory, dimensions)
        if options.fp16:
            if model.architecture != MEMORY_AUGMENTED_GRU:
                raise parity.ParityError(
                    f"--fp16 is for {MEMORY_AUGMENTED_GRU}; {options.checkpoint} is of "
                    f"{model.architecture}, whose products are too few to gain by it: leave it out"
                )
            steps["fp16"] = device_graphs.write(model, directory, engine)
        precisions = _measure_drift(engine, steps, options.context_window, console)
        manifest = Manifest(
            model=options.model,
            version=options.version,
            architecture=model.architecture,
            dimensions=dimensions,
            context_window=options.context_window,
            window_policy=options.window_policy,
            precision="fp32",
            parameters=model.trainable,
            opset=gru_graph.OPSET,
            files={file.name: sha256(file) for file in sorted(directory.iterdir())},
            source_sha256=source,
            parity=same,
            precisions=precisions,
            evaluation=figures,
            tools=_tools(reference),
        )
        if options.step_latency:
            measured = _step_latency(manifest, {"fp32": engine, **steps}, console)
            manifest = manifest.model_copy(update={"step_latency": measured})
        (directory / NAME).write_text(manifest.model_dump_json(indent=2) + "\n")
    return manifest


def _step_int8(model: ModelWeights, directory: Path, dimensions: Dimensions) -> Engine:
    path = directory / STEP_INT8
    path.write_bytes(gru_graph.serialise(graph_factory.build_step_int8(model)))
    return OnnxEngine(path, dimensions)


def _step_latency(
    manifest: Manifest, engines: Mapping[Precision, Engine], console: Console
) -> StepLatency:
    """Measure the step that a service on this machine uses by default."""
    chosen = precision.choose(manifest, "auto", engines["fp32"].provider)
    console.print(f"measuring {step_latency.STEPS} steps in {chosen}")
    return step_latency.measure(engines[chosen], chosen)


def _reference(wanted: str, model: ModelWeights) -> parity.Reference:
    """Return the network to compare with. Raises `ParityError` if PyTorch is not installed."""
    if wanted == "numpy" or (wanted == "auto" and find_spec("torch") is None):
        return NumpyReference(model)
    try:
        import torch  # noqa: PLC0415  not installed everywhere, and slow to import

        from model_export.torch_reference import TorchReference  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise parity.ParityError(
            "--reference pytorch: PyTorch is not installed; install the extra `training`, or take "
            "--reference numpy"
        ) from error
    # A GRU step is too small to parallelize: more threads gain nothing on idle cores,
    # and wait for each other on busy ones.
    torch.set_num_threads(1)
    return TorchReference(model)


def _measure(reference: parity.Reference, engine: Engine, window: int, console: Console) -> Parity:
    with _bar(console, "parity") as show:
        return parity.measure(reference, engine, parity.cases(window), progress=show)


def _measure_drift(
    full: Engine, others: Mapping[Precision, Engine], window: int, console: Console
) -> dict[Precision, PrecisionInfo]:
    names = ", ".join(("fp32", *others))
    console.print(
        f"carrying a session over {session_drift.STEPS:,} vectors of the sample in {names}"
    )
    with _bar(console, "session") as show:
        results = session_drift.measure(full, others, load_vectors(), window, progress=show)
    for name, info in results.items():
        drift = "" if info.drift is None else f", cosine at least {info.drift.min_cosine:.6f}"
        hits = info.hits
        console.print(
            f"{name}: Hit@5 {hits.hit_at_5:.1%} among {hits.pool} of its positions{drift}"
        )
    return results


@contextmanager
def _bar(console: Console, name: str) -> Iterator[Callable[[int, int, str], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name)

        def show(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{name}: {text}")

        yield show


def _tools(reference: parity.Reference) -> dict[str, str]:
    """Return the versions of the tools; ONNX Runtime is installed under one of two names."""
    results = {}
    for name in _TOOLS:
        if name == "torch" and isinstance(reference, NumpyReference):
            continue
        try:
            results[name] = version(name)
        except PackageNotFoundError:
            continue
    return results
