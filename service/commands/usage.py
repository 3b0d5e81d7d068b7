"""What Typer says about wrong usage and about options, in the words of `nextvec`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup, TyperOption


@contextmanager
def plain_errors() -> Iterator[None]:
    """Name what is missing with what it is for, and a misspelt option with the nearest one."""
    try:
        yield
    except typer.BadParameter as error:
        purpose = getattr(error.param, "help", None)
        if not error.message and purpose:
            # Typer adds the choices as a sentence of its own.
            choices = error.param and error.param.get_missing_message(ctx=error.ctx)
            error.message = str(purpose).removesuffix("." if choices else "")
        error.message = error.message.removeprefix("Value error, ")
        raise
    except Exception as error:
        # Typer's class of an unknown option is not public.
        if nearest := getattr(error, "possibilities", None):
            error.message = f"{error.message}. Did you mean '{nearest[0]}'?"  # type: ignore[attr-defined]
            error.possibilities = None  # type: ignore[attr-defined]
        raise


def hide_types_of_flags(command: Any) -> Any:
    """Return the command; its help shows no type for options that take no value."""
    for parameter in command.params:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    # Typer makes the option --help when it is asked for.
    make_help_option = command.get_help_option

    def get_help_option(ctx: Any) -> Any:
        option = make_help_option(ctx)
        option.metavar = ""
        return option

    command.get_help_option = get_help_option
    for child in getattr(command, "commands", {}).values():
        hide_types_of_flags(child)
    return command


class GroupWithCommonOptions(TyperGroup):
    """A group whose own options may also stand after the subcommand: `rollout status --url …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the group's options to the front, where Typer expects them."""
        flags = {flag for parameter in self.params for flag in parameter.opts} - {"-h", "--help"}
        return super().parse_args(ctx, _in_front(args, flags))


def _in_front(args: Sequence[str], flags: Iterable[str]) -> list[str]:
    """The arguments with the given options, which take one value each, before all others."""
    front: list[str] = []
    rest: list[str] = []
    waiting = list(args)
    while waiting:
        arg = waiting.pop(0)
        if arg == "--":
            rest += [arg, *waiting]
            break
        if arg in flags and waiting:
            front += [arg, waiting.pop(0)]
        elif arg.partition("=")[0] in flags and "=" in arg:
            front.append(arg)
        else:
            rest.append(arg)
    return [*front, *rest]
