"""The `nextvec` command: a table of names, each imported only when asked for.

So that `nextvec serve` needs no torch and `nextvec --help` imports nothing.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from service.errors import NextvecError

COMMANDS = {
    "demo": ("loadtest.commands.demo", "play the whole story on this machine"),
    "serve": ("service.commands.serve", "serve two versions"),
    "export": ("model_export.commands.export", "a checkpoint to a verified ONNX version"),
    "data": ("training.commands.data", "make a data set, from text or from vectors"),
    "train": ("training.commands.train", "train a phase from a corpus"),
    "evaluate": ("training.commands.evaluate", "score versions and baselines on one pool"),
    "experiment": ("training.commands.experiment", "two arms that differ by one thing, a verdict"),
    "loadtest": ("loadtest.commands.loadtest", "drive real streams at a server"),
    "simulate": ("simulation.commands.simulate", "play a plan's rollouts offline"),
    "trial": ("loadtest.commands.trial", "try the verdict live: one version twice, or slowed"),
    "bench": ("loadtest.commands.bench", "measure the service beside the bare engine"),
    "rollout": ("service.commands.rollout", "start, watch, promote or abort a rollout"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in COMMANDS:
        return _usage(arguments)
    module_name, summary = COMMANDS[arguments[0]]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        print(
            f"nextvec {arguments[0]}: needs the package {error.name}; "
            "install it with: pip install 'nextvec[export,loadtest]'",
            file=sys.stderr,
        )
        return 1
    parser = argparse.ArgumentParser(prog=f"nextvec {arguments[0]}", description=summary)
    module.add_arguments(parser)
    parsed = parser.parse_args(arguments[1:])
    try:
        return int(module.run(parsed))
    except NextvecError as error:
        print(f"nextvec {arguments[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _usage(arguments: Sequence[str]) -> int:
    wanted = not arguments or arguments[0] in {"-h", "--help", "help"}
    lines = ["usage: nextvec COMMAND [options]", ""]
    lines += [f"  {name:10} {summary}" for name, (_, summary) in COMMANDS.items()]
    lines += ["", "nextvec COMMAND --help says more."]
    if not wanted:
        lines.insert(0, f"nextvec: there is no command {arguments[0]!r}")
    print("\n".join(lines), file=sys.stdout if wanted else sys.stderr)
    return 0 if wanted else 2
