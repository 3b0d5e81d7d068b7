"""The commands behind `make lock`, `make audit` and `make sbom`."""

from __future__ import annotations

import json

import pytest

from deploy.supply_chain.audit import AuditResult, parse, verdict
from deploy.supply_chain.direct_requirements import direct_requirements
from deploy.supply_chain.markers import entries, entries_for

LOCK = """\
# Written by a tool
numpy==2.4.6 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
uvloop==0.23.0 ; sys_platform != 'win32' \\
    --hash=sha256:cc
winloop==0.1 ; sys_platform == 'win32' \\
    --hash=sha256:dd
arm==1 ; platform_machine == 'aarch64' \\
    --hash=sha256:ee
"""
PROJECT = {
    "dependencies": ["numpy>=1"],
    "optional-dependencies": {"export": ["onnx"], "data": ["nextvec[export]", "torch>=2"]},
}
CLEAN = AuditResult(30, [], [])


def test_an_entry_keeps_its_hashes():
    first = entries(LOCK)[0]

    assert "numpy==2.4.6" == str(first.requirement)
    assert first.text.endswith("--hash=sha256:bb")


@pytest.mark.parametrize(
    ("platform", "names"),
    [("linux/amd64", ["numpy", "uvloop"]), ("linux/arm64", ["numpy", "uvloop", "arm"])],
)
def test_markers_choose_the_packages_of_a_platform(platform, names):
    assert names == [entry.requirement.name for entry in entries_for(LOCK, platform)]


def test_an_extra_may_name_another():
    assert ["numpy>=1"] == direct_requirements(PROJECT, [])
    assert ["numpy>=1", "onnx", "torch>=2"] == direct_requirements(PROJECT, ["data", "export"])
    with pytest.raises(KeyError):
        direct_requirements(PROJECT, ["typo"])


def test_the_report_of_pip_audit_is_read():
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]},
            {"name": "c", "skip_reason": "not found"},
        ]
    }

    assert AuditResult(2, ["b 2: CVE-1, fixed in 3"], ["c"]) == parse(json.dumps(report))


@pytest.mark.parametrize(
    ("result", "required", "status", "text"),
    [
        (CLEAN, True, 0, "30 packages audited, 0 vulnerabilities"),
        (None, False, 0, "NOT AUDITED"),
        (None, True, 3, "NOT AUDITED"),
        (AuditResult(0, [], ["a"]), False, 0, "NOT AUDITED"),
        (AuditResult(0, [], ["a"]), True, 3, "NOT AUDITED"),
        (AuditResult(29, [], ["a"]), False, 0, "not known to the service: a"),
        (AuditResult(29, [], ["a"]), True, 3, "not known to the service: a"),
        (AuditResult(30, ["b 2: CVE-1"], []), False, 1, "VULNERABLE b 2: CVE-1"),
    ],
)
def test_an_audit_that_could_not_run_says_so_and_fails_where_it_is_required(
    result, required, status, text
):
    code, lines = verdict({"constraints.txt": result}, required=required)

    assert status == code
    assert text in "\n".join(lines)
