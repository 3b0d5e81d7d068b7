"""Asks the vulnerability service about every package of the locks.

    make audit             # says so and succeeds where the service cannot be reached
    make audit REQUIRE=1   # fails there: for a release

Exit status: 0 nothing known, or not reached; 1 a known vulnerability; with `--require`, 3 for not
reached or for a package that the service does not know.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from deploy.supply_chain.markers import entries_for

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (
    "constraints.txt",
    "requirements/image-cuda.lock",
    "requirements/demo.lock",
    "requirements/build.lock",
)
SECONDS = 120


class AuditResult(NamedTuple):
    """What the service answered about one lock."""

    audited: int
    vulnerable: list[str]
    skipped: list[str]
    """Packages that the service does not know, or did not answer for."""


def parse(report: str) -> AuditResult:
    """Read pip-audit's JSON report."""
    packages = json.loads(report)["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    audited = [package for package in packages if "skip_reason" not in package]
    vulnerable = [
        f"{package['name']} {package['version']}: {finding['id']}, "
        f"fixed in {', '.join(finding['fix_versions']) or 'no version'}"
        for package in audited
        for finding in package["vulns"]
    ]
    return AuditResult(len(audited), vulnerable, skipped)


def audit(lock: Path) -> AuditResult | None:
    """Audit the packages that `lock` installs on Linux x86-64; None if there was no answer."""
    packages = entries_for(lock.read_text("utf-8"), "linux/amd64")
    tool = str(Path(sys.executable).with_name("pip-audit"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(entry.text for entry in packages) + "\n")
        file.flush()
        command = [tool, "--disable-pip", "--require-hashes", "--format=json"]
        command += ["--progress-spinner=off", "--timeout=5", "--requirement", file.name]
        try:
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, check=False, timeout=SECONDS
            )
            return parse(done.stdout)
        except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
            return None


def verdict(results: dict[str, AuditResult | None], *, required: bool) -> tuple[int, list[str]]:
    """The exit status and the lines to print."""
    lines: list[str] = []
    status = 0
    for name, result in results.items():
        if result is None or not result.audited:
            lines.append(f"{name}: NOT AUDITED, the vulnerability service cannot be reached")
            status = max(status, 3 if required else 0)
            continue
        lines += [f"{name}: VULNERABLE {finding}" for finding in result.vulnerable]
        if result.skipped:
            lines.append(f"{name}: not known to the service: {', '.join(result.skipped)}")
        lines.append(
            f"{name}: {result.audited} packages audited, {len(result.vulnerable)} vulnerabilities"
        )
        status = max(status, 3 if required and result.skipped else 0)
    if any(result and result.vulnerable for result in results.values()):
        status = 1
    return status, lines


def main() -> int:
    results: dict[str, AuditResult | None] = {}
    for name in LOCKS:
        results[name] = audit(ROOT / name)
        if results[name] is None:
            # One time-out is enough to know.
            results = dict.fromkeys(LOCKS)
            break
    status, lines = verdict(results, required="--require" in sys.argv[1:])
    print(*lines, sep="\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
