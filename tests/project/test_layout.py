"""Where tests stand, and how long files are."""

from __future__ import annotations

from pathlib import Path

from tests.support.sources import ROOT, files, modules, text

MAX_LINES = 400
MAX_MODULE_LINES = 350

LONGER = {
    "service/rollout/analysis/guardrails/latency.py": "a guardrail is one file",
    "service/prediction/dispatch.py": "the path of every prediction, from top to bottom",
}
"""Modules with more lines, and why."""

SUBJECTS = {"deploy", "end_to_end", "project", "support"}
"""Folders whose tests are not those of one module each; their docstrings state the subject."""

ABOUT = {
    "clients/python/nextvec/test_session_losses.py": "sessions of the client, under losses",
    "api/codecs/test_parser_fuzz.py": "all parsers of bodies, on arbitrary bytes",
    "rollout/analysis/guardrails/test_false_rollbacks.py": "error rates of all guardrails",
    "rollout/analysis/sources/test_evidence_sources.py": "what all evidence sources have in common",
    "rollout/analysis/test_remembered_contexts.py": "prefix cache and latency guardrail together",
    "rollout/controller/test_crashes.py": "the controller, killed at any moment",
    "rollout/controller/test_clock_steps.py": "the controller, while the system clock is set",
    "rollout/controller/test_every_write.py": "the controller, when any one write fails",
    "rollout/controller/test_fleet_crashes.py": "a whole fleet, killed and cut off at any moment",
    "rollout/controller/test_gate_at_start.py": "gate and controller together",
    "rollout/controller/test_shadow_step.py": "shadow runner and controller together",
    "rollout/storage/test_rollout_stores.py": "what all adapters of the store have in common",
    "rollout/state/test_state_machine.py": "invariants of the state machine under any events",
}
"""Tests of several modules together, and what they test."""

TESTS = [file for file in files() if file.parts[0] == "tests" and file.suffix == ".py"]
MIRRORS = [
    file for file in TESTS if file.name.startswith("test_") and file.parts[1] not in SUBJECTS
]


def name(file):
    return str(file.relative_to("tests"))


def exists(file):
    return (ROOT / file).exists()


def subjects(test: Path) -> list[Path]:
    """What `tests/package/folder/test_name_aspect.py` may test, from `name_aspect` to `name`.

    The folder is looked for at the root and in `service`. A name is that of a module, or
    of a subpackage.
    """
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    folder = Path(*test.parent.parts[1:])
    return [
        subject
        for module in names
        for base in (folder, "service" / folder)
        for subject in (base / f"{module}.py", base / module / "__init__.py")
    ]


def test_a_test_has_the_name_of_its_module():
    """`tests/x/y/test_z.py` or `test_z_aspect.py` tests `x/y/z.py` or `service/x/y/z.py`.

    A test of several modules together is listed in `ABOUT`.
    """
    unknown = [name(test) for test in MIRRORS if not any(map(exists, subjects(test)))]
    assert [] == [test for test in unknown if test not in ABOUT]


def test_a_test_file_states_its_subject():
    assert [] == [name(test) for test in TESTS if not text(test).startswith('"""')]


def test_a_test_file_is_short():
    lengths = {name(test): len(text(test).splitlines()) for test in TESTS}
    assert {} == {test: length for test, length in lengths.items() if length > MAX_LINES}


def test_the_tests_of_several_modules_exist():
    assert set() == set(ABOUT) - {name(test) for test in MIRRORS}


def test_a_module_is_short():
    long = {str(file) for file in modules() if len(text(file).splitlines()) > MAX_MODULE_LINES}
    assert set() == long - set(LONGER)
    assert set() == set(LONGER) - {str(file) for file in modules()}
