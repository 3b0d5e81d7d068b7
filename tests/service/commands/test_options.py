"""Option types that the commands share."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from service.commands.options import (
    CommandWithLists,
    new_app,
    non_negative,
    positive,
    share,
    slowdown_factor,
)


def sample_app() -> typer.Typer:
    app = new_app()

    @app.command(cls=CommandWithLists)
    def sample(
        names: Annotated[list[str] | None, typer.Argument()] = None,
        weight: Annotated[list[float] | None, typer.Option()] = None,
        *,
        flag: Annotated[bool, typer.Option("--flag")] = False,
    ) -> None:
        print(names, weight, flag)

    return app


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "None None False"),
        (["--weight", "5"], "None [5.0] False"),
        (["--weight", "5", "25", "50"], "None [5.0, 25.0, 50.0] False"),
        (["--weight", "5", "--weight", "25"], "None [5.0, 25.0] False"),
        (["a", "b", "--weight", "5", "25", "--flag"], "['a', 'b'] [5.0, 25.0] True"),
        (["--flag", "a", "--weight", "5"], "['a'] [5.0] True"),
    ],
)
def test_a_repeatable_option_takes_several_values(arguments, expected):
    ran = CliRunner().invoke(sample_app(), arguments)
    assert ran.output.strip() == expected


def test_a_repeatable_option_without_a_value_is_refused():
    ran = CliRunner().invoke(sample_app(), ["--weight", "--flag"])
    assert ran.exit_code == 2


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (positive, ["0.1", "1e9"], ["0", "-1", "x", "inf", "nan"]),
        (non_negative, ["0", "2"], ["-0.1", "inf"]),
        (share, ["0", "0.5", "1"], ["-0.1", "1.1", "nan"]),
        (slowdown_factor, ["1", "1.5"], ["0.9", "1001", "x"]),
    ],
)
def test_a_number_outside_its_range_is_refused(parse, good, bad):
    assert [float(text) for text in good] == [parse(text) for text in good]
    for text in bad:
        with pytest.raises(typer.BadParameter, match="is not a"):
            parse(text)
