"""Writes the bill of materials of the image, CycloneDX 1.6 in JSON, from the image's lock.

    make sbom        # out/sbom/nextvec-VERSION[-cuda]-linux-{amd64,arm64}.cdx.json

It lists the Python packages with the hashes that the build verifies. The system packages are those
of the base image. The document is validated against CycloneDX's schema.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from deploy.supply_chain.markers import MACHINES, entries_for

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {"": "image.lock", "-cuda": "image-cuda.lock"}


def write_sbom(lock: Path, platform: str, output: Path) -> int:
    """Write the packages that `lock` installs on `platform` to `output`; returns their number.

    Raises subprocess.CalledProcessError if the document does not validate.
    """
    packages = entries_for(lock.read_text("utf-8"), platform)
    output.parent.mkdir(parents=True, exist_ok=True)
    tool = str(Path(sys.executable).with_name("cyclonedx-py"))
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"]
    options += ["--spec-version", "1.6", "--output-format", "JSON", "--output-reproducible"]
    options += ["--validate", "--output-file", str(output), "-"]
    text = "\n".join(entry.text for entry in packages) + "\n"
    # The lock has no dependency graph, which the tool warns of.
    quiet = {"PYTHONWARNINGS": "ignore"}
    subprocess.run(  # noqa: S603
        [tool, "requirements", *options], input=text, text=True, check=True, env=quiet
    )
    return len(packages)


def main() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for suffix, lock in LOCKS.items():
        for platform in MACHINES:
            name = f"nextvec-{version}{suffix}-{platform.replace('/', '-')}.cdx.json"
            output = ROOT / "out" / "sbom" / name
            count = write_sbom(ROOT / "requirements" / lock, platform, output)
            print(f"{output.relative_to(ROOT)}: {count} packages, valid CycloneDX 1.6")


if __name__ == "__main__":
    main()
