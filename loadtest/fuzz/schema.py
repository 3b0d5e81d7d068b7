"""Requests that schemathesis makes from the server's OpenAPI document."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_GRACE_SECONDS = 60.0
_ENDLESS = "/admin/v1/rollout/events"


class SchemaFuzzError(Exception):
    """schemathesis is missing or could not run. The message ends with its output."""


class SchemaFuzzResult(NamedTuple):
    """Test cases that were sent, the failures among them, and the folder of the reports."""

    cases: int
    failures: int
    report: Path


def fuzz_schema(
    url: str, token: str | None, seconds: float, seed: int, out: Path
) -> SchemaFuzzResult:
    """Send valid and invalid requests of every operation for `seconds`.

    A 5xx is a failure. With `token` the admin routes are called with effect. Raises
    `SchemaFuzzError`.
    """
    tool = Path(sys.executable).with_name("schemathesis")
    if not tool.exists():
        raise SchemaFuzzError("schemathesis is not installed: pip install schemathesis")
    report = out / "schemathesis.json"
    report.unlink(missing_ok=True)
    command = [str(tool), "run", f"{url}/openapi.json", "--checks", "not_a_server_error"]
    command += ["--max-time", str(max(1, round(seconds))), "--seed", str(seed), "--no-shrink"]
    command += ["--continue-on-failure", "--request-timeout", "30", "--exclude-path", _ENDLESS]
    command += ["--report", "json", "--report-json-path", str(report)]
    command += ["--warnings", "off", "--no-color"]
    command += ["--header", f"Authorization: Bearer {token}"] if token else []
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=out,  # it writes its database of examples there
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _GRACE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise SchemaFuzzError("schemathesis did not end: a request hangs") from error
    (out / "schemathesis.txt").write_text(done.stdout + done.stderr, "utf-8")
    if not report.exists():
        raise SchemaFuzzError(f"schemathesis failed:\n{(done.stdout + done.stderr)[-2000:]}")
    counts = json.loads(report.read_text("utf-8"))["test_cases"]
    return SchemaFuzzResult(
        counts["generated"], counts["with_failures"] + counts["errored"], out / "schemathesis.txt"
    )
