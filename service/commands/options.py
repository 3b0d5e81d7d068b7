"""Option types that the commands of all packages share."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

OptionsT = TypeVar("OptionsT")

OutputFormat = Annotated[
    Literal["text", "json"],
    typer.Option("--output", "-o", help="Print the result as text or as JSON."),
]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Configuration file (NEXTVEC_CONFIG; else nextvec.toml, if it exists).",
    ),
]


class CommandWithLists(TyperCommand):
    """A command whose repeatable options also take several values: `--weight 5 25 50`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat such a flag before each of its values, which is the form that Typer parses."""
        flags = {
            flag
            for parameter in self.params
            if getattr(parameter, "multiple", False)
            for flag in parameter.opts
        }
        return super().parse_args(ctx, list(_repeat_flags(args, flags)))


def new_app(**options: Any) -> typer.Typer:
    """Return a Typer application with the conventions of `nextvec`."""
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


def with_options(
    options_type: type[OptionsT],
) -> Callable[[Callable[[OptionsT], None]], Callable[..., None]]:
    """Let a command take one dataclass whose fields are its arguments and options.

    Each field is annotated as a parameter of a Typer command is. Commands with many
    options can thus hand all of them to their helpers.
    """

    def decorate(command: Callable[[OptionsT], None]) -> Callable[..., None]:
        @wraps(command)
        def run(**values: Any) -> None:
            command(options_type(**values))

        hints = get_type_hints(options_type, include_extras=True)
        parameters = inspect.signature(options_type).parameters.values()
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # Typer reads it
            [each.replace(annotation=hints[each.name]) for each in parameters]
        )
        run.__annotations__ = hints
        return run

    return decorate


def examples(*lines: str) -> str:
    """Return the epilog that shows example commands."""
    # Typer joins lines within a paragraph: each command is a paragraph of its own.
    return "\n\n".join(["Examples:", *lines])


def positive(text: str) -> float:
    """Parse a number above 0, from 1e-6 to 1e9. Raises `typer.BadParameter`."""
    return _number(text, 1e-6, 1e9, "a number above 0")


def duration(text: str) -> float:
    """Parse a time with its units, as 90s, 30m, 1h30m or 2d, or plain seconds. Returns seconds.

    Raises `typer.BadParameter` unless it is above 0 and at most a year.
    """
    parts = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    days, hours, minutes, seconds = parts.groups(default="0") if parts else ("0",) * 4
    total = int(days) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if not 0 < total <= 366 * 86_400:
        raise typer.BadParameter(f"{text!r} is not a time such as 90s, 30m or 1h30m")
    return total


def non_negative(text: str) -> float:
    """Parse a number from 0 to 1e9. Raises `typer.BadParameter`."""
    return _number(text, 0, 1e9, "a number of at least 0")


def share(text: str) -> float:
    """Parse a number from 0 to 1. Raises `typer.BadParameter`."""
    return _number(text, 0, 1, "a share from 0 to 1")


def slowdown_factor(text: str) -> float:
    """Parse a number from 1 to 1000. Raises `typer.BadParameter`."""
    return _number(text, 1, 1e3, "a factor from 1 to 1000")


def print_json_file(path: Path) -> None:
    """Print a JSON report that the command has written."""
    print(path.read_text(encoding="utf-8").rstrip("\n"))


def _number(text: str, low: float, high: float, wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise typer.BadParameter(f"{text!r} is not {wanted}")
    return value


def _repeat_flags(args: Iterable[str], flags: set[str]) -> Iterator[str]:
    current, values = None, 0
    for arg in args:
        if arg.startswith("-"):
            current, values = (arg if arg in flags else None), 0
        elif current is not None:
            if values:
                yield current
            values += 1
        yield arg
