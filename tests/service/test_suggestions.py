"""Messages about unknown names."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from service.suggestions import describe_unknown, nearest_name, validation_message


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("dryrun", "dryRun"),
        ("DRYRUN", "dryRun"),
        ("positon", "position"),
        ("pos", "position"),
        ("zebra", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_the_nearest_name(name, nearest):
    assert nearest == nearest_name(name, ["dryRun", "position", "limit"])


def test_without_a_near_name_all_are_listed():
    assert "there are: a, b" in describe_unknown("field", "zebra", ["b", "a"])
    assert "none is accepted here" in describe_unknown("query parameter", "zebra", [])


def test_a_long_name_is_cut():
    assert len(describe_unknown("field", "x" * 100_000, ["a"])) < 200


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")
    length: int = 0


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid")
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] = {}
    other: Leaf | None = None


@pytest.mark.parametrize(
    "given",
    [{"leaves": [{"lenght": 1}]}, {"by_name": {"a": {"lenght": 1}}}, {"other": {"lenght": 1}}],
)
def test_the_nearest_field_of_a_nested_model(given):
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate(given)
    error = caught.value.errors()[0]
    assert validation_message(dict(error), Tree) == (
        "there is no field 'lenght'; did you mean 'length'?"
    )
