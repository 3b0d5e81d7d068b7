"""The table of error codes against the code that raises them."""

from __future__ import annotations

import ast

import pytest

from service import errors
from service.api.errors import status_of
from service.api.openapi.errors import ERRORS, MEANINGS, error_responses
from service.rollout.storage.database import StoreError
from tests.support.sources import modules, text

INSIDE = {"configuration", "evidence", "tracing"}
"""Codes of errors that no caller gets: they end the start, or an analysis run."""


def kinds() -> dict[str, type[errors.NextvecError]]:
    """Every class of errors that the service defines, by its name."""
    found, waiting = {}, [errors.NextvecError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__.startswith("service."):
            found[kind.__name__] = kind
        waiting += kind.__subclasses__()
    return found


def made(kind: type[errors.NextvecError]) -> errors.NextvecError:
    return kind("", 1.0) if issubclass(kind, errors.QueueFull) else kind("")


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def codes_in_the_source() -> dict[str, set[int]]:
    """Each code that `service` gives an error, and the statuses of the classes that carry it."""
    classes = kinds()
    found: dict[str, set[int]] = {}
    for file in modules():
        if file.parts[0] != "service" or file.parts[:3] == ("service", "api", "openapi"):
            continue
        for node in ast.walk(ast.parse(text(file))):
            if not isinstance(node, ast.Call):
                continue
            name = called(node)
            given = [word.value for word in node.keywords if word.arg == "code"]
            if name in classes and len(node.args) > 1:
                given.append(node.args[1])
            for code in given:
                if name in classes and isinstance(getattr(code, "value", None), str):
                    status = status_of(made(classes[name]))
                    found.setdefault(code.value, set()).add(status)
    return found


def test_every_code_of_a_class_is_in_the_table_with_its_status():
    for kind in kinds().values():
        if "code" in vars(kind) and kind.code not in INSIDE:
            assert (status_of(made(kind)), kind.code) == (ERRORS[kind.code][0], kind.code)


@pytest.mark.slow
def test_every_code_that_is_raised_is_in_the_table_with_its_status():
    raised = codes_in_the_source()
    assert {"position_mismatch", "gate_missed", "below_floor", "body_timeout"} <= set(raised)
    assert {} == {
        code: statuses
        for code, statuses in raised.items()
        if code not in INSIDE and statuses != {ERRORS.get(code, (None, ""))[0]}
    }


def test_every_code_of_the_table_is_in_the_source():
    source = "".join(
        text(file)
        for file in modules()
        if file.parts[0] == "service" and file.parts[:3] != ("service", "api", "openapi")
    )
    assert [] == [code for code in ERRORS if f'"{code}"' not in source]


def test_every_status_has_a_meaning():
    assert set(MEANINGS) == {status for status, _ in ERRORS.values()}


def test_a_response_has_an_example_for_each_of_its_codes():
    responses = error_responses("session_gone", "prediction_gone", "queue_full")
    assert {400, 410, 422, 429, 500} == set(responses)
    examples = responses[410]["content"]["application/json"]["examples"]
    assert {"session_gone", "prediction_gone"} == set(examples)
    assert "session_gone" == examples["session_gone"]["value"]["code"]


def test_the_errors_of_every_package_are_known():
    """`kinds` finds only what is imported; this error is defined far from the others."""
    assert kinds()["StoreError"] is StoreError
