"""Options of a group may also stand after the subcommand."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from service.commands.options import new_app
from service.commands.usage import GroupWithCommonOptions

app = new_app(cls=GroupWithCommonOptions)


@app.callback()
def _connect(context: typer.Context, url: str = "none", token: str = "none") -> None:
    context.obj = (url, token)


@app.command()
def status(
    context: typer.Context,
    name: str = "",
    *,
    watch: Annotated[bool, typer.Option("--watch")] = False,
    reason: Annotated[str, typer.Option()] = "",
) -> None:
    print(*context.obj, name, watch, reason)


@app.command()
def other() -> None:
    """A second command, so that the first is named."""


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["status"], "none none  False "),
        (["--url", "u", "status", "--watch"], "u none  True "),
        (["status", "--watch", "--url", "u", "--token=t"], "u t  True "),
        (["status", "--name=n", "--url=u"], "u none n False "),
        (["status", "--reason", "x --url y"], "none none  False x --url y"),
    ],
)
def test_where_the_options_stand_makes_no_difference(arguments, printed):
    ran = CliRunner().invoke(app, arguments)
    assert ran.stdout.rstrip("\n") == printed


@pytest.mark.parametrize("arguments", [["status", "--url"], ["status", "--", "--url", "u"]])
def test_what_is_no_option_with_a_value_is_left_where_it_is(arguments):
    assert CliRunner().invoke(app, arguments).exit_code == 2
