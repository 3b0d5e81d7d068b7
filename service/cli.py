"""The `nextvec` command: a table of subcommands, each imported when it runs.

`nextvec serve` therefore needs no torch, and `nextvec --help` starts fast.
"""

from __future__ import annotations

# Before the slow imports: it ends the process on a signal meanwhile.
from service import early_signals  # noqa: F401

# isort: split
import errno
import importlib
import io
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from service.commands.usage import hide_types_of_flags, plain_errors
from service.errors import NextvecError


class Subcommand(NamedTuple):
    """A subcommand: the module whose `app` implements it, and a line for the list."""

    module: str
    summary: str


COMMANDS = {
    "demo": Subcommand(
        "loadtest.commands.demo",
        "Run the complete demo on this machine: a rollback and a promotion.",
    ),
    "serve": Subcommand("service.commands.serve", "Start the prediction service."),
    "config": Subcommand(
        "service.commands.config", "Check or show the configuration of the service."
    ),
    "rollout": Subcommand(
        "service.commands.rollout", "Start, watch, promote or abort a rollout of a running service."
    ),
    "export": Subcommand(
        "model_export.commands.export", "Export a checkpoint as a verified ONNX version."
    ),
    "data": Subcommand("training.commands.data", "Build a data set from text or from vectors."),
    "train": Subcommand("training.commands.train", "Train a model from a recipe and a data set."),
    "evaluate": Subcommand(
        "training.commands.evaluate", "Score models and baselines on held-out positions."
    ),
    "experiment": Subcommand(
        "training.commands.experiment",
        "Train two arms that differ in one setting and compare them.",
    ),
    "loadtest": Subcommand(
        "loadtest.commands.loadtest", "Send traffic to a server and report its latencies."
    ),
    "soak": Subcommand(
        "loadtest.commands.soak", "Send mixed load for a long time and check that nothing grows."
    ),
    "fuzz": Subcommand(
        "loadtest.commands.fuzz", "Send malformed input to a server and check that it survives."
    ),
    "simulate": Subcommand(
        "simulation.commands.simulate", "Simulate a plan's rollouts offline and report error rates."
    ),
    "fleet": Subcommand(
        "loadtest.commands.fleet", "Run a fleet on this machine, and prove that it loses nothing."
    ),
    "trial": Subcommand(
        "loadtest.commands.trial", "Check the verdicts against a real server with a known canary."
    ),
    "bench": Subcommand(
        "loadtest.commands.bench", "Benchmark the service against the bare inference engine."
    ),
}


class CommandTable(TyperGroup):
    """The group of all subcommands. Listing them imports none; running one imports only that."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {
            name: TyperCommand(name, help=found.summary) for name, found in COMMANDS.items()
        }

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand. Wrong usage is answered with what may have been meant."""
        with plain_errors():
            return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the subcommand."""
        with plain_errors():
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Return the subcommand that runs. Typer suggests similar names for a misspelt one."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(str(name)), rest


app = typer.Typer(
    cls=CommandTable,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  Typer calls it with the flag
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  slows every start otherwise

        print(f"nextvec {version('nextvec')}")
        raise typer.Exit


@app.callback(
    help="Serve two versions of a next-vector model and roll out the new one safely.",
    epilog="Run nextvec COMMAND --help for the options and examples of one command.",
)
def _root(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
"""What a write to stdout fails with on a full disk, or on a terminal that is gone."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 after an error, 2 for wrong usage.

    Raises `SystemExit` with a message for an error that a command reports itself.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets an escape, not a traceback.
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    try:
        status = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        from service.commands.terminal import discard_output  # noqa: PLC0415  imports rich

        discard_output()
        print(f"nextvec {arguments[0]}: cannot print: {error.strerror}", file=sys.stderr)
        return 1
    return status


def _run(arguments: list[str]) -> int:
    try:
        hide_types_of_flags(get_command(app)).main(arguments, prog_name="nextvec")
    except NextvecError as error:
        print(f"nextvec {arguments[0]}: {error}", file=sys.stderr)
        return 1
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise
        return ended.code or 0
    return 0


def _load(name: str) -> Any:
    try:
        module = importlib.import_module(COMMANDS[name].module)
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"nextvec {name}: the package {error.name} is missing; "
            "install it with: pip install 'nextvec[training,loadtest]'"
        ) from error
    command = hide_types_of_flags(get_command(module.app))
    command.name = name
    return command
