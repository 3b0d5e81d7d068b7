"""Writes `constraints.txt` and `requirements/*.lock`: versions with the hashes of all builds.

    make lock                  # adds what pyproject.toml has gained; other pins stay
    make lock UPGRADE=numpy    # and upgrades one package

`uv` resolves for all platforms at once, so that one file holds on Linux, macOS and Windows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.11"
"""The oldest Python of pyproject.toml."""

PINNED = ("torch==2.13.0", "ml-dtypes==0.5.4", "onnxruntime==1.31.1")
"""torch 2.13.0 is the release that has a CPU build at hand; serving does not install it.
ml-dtypes 0.5.4 is the last that tritonclient takes. onnxruntime follows onnxruntime-gpu, which
the tests ran with. nvidia-cuda-nvrtc follows from torch: 13.0."""

DEMO_LEAVES_OUT = 'onnxruntime-gpu ; python_version < "3"'
"""The build of ONNX Runtime with CUDA, 20 times as large. `requirements/demo.in` has the other."""

HEADER = "# Written by `make lock`; requirements/README.md says what for.\n"


def compile_lock(output: Path, *arguments: str, upgrade: list[str]) -> None:
    """Resolve `arguments` into `output`, keeping the versions that it has.

    Raises subprocess.CalledProcessError if there is no solution; uv says why on standard error.
    """
    options = ["--universal", "--python-version", PYTHON, "--generate-hashes"]
    options += ["--no-header", "--no-annotate", "--quiet", "--system-certs"]
    options += [f"--upgrade-package={name}" for name in upgrade]
    tool = str(Path(sys.executable).with_name("uv"))
    command = [tool, "pip", "compile", *options, *arguments, "--output-file", str(output)]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603
    output.write_text(HEADER + output.read_text("utf-8"), "utf-8")


def main() -> None:
    upgrade = sys.argv[1:]
    requirements = ROOT / "requirements"
    constraints = ROOT / "constraints.txt"
    with tempfile.TemporaryDirectory() as folder:
        pinned, replaced = Path(folder) / "pinned.txt", Path(folder) / "replaced.txt"
        pinned.write_text("\n".join(PINNED), "utf-8")
        everything = ("--all-extras", "pyproject.toml", "--constraints", str(pinned))
        compile_lock(constraints, *everything, upgrade=upgrade)
        replaced.write_text(DEMO_LEAVES_OUT, "utf-8")
        demo = ("--extra=export", "--extra=loadtest", "pyproject.toml", "requirements/demo.in")
        same = ("--constraints", str(constraints), "--constraints", str(pinned))
        compile_lock(
            requirements / "demo.lock", *demo, *same, "--override", str(replaced), upgrade=[]
        )
    # A container cannot install later what only some settings need.
    extras = [f"--extra={name}" for name in ("fleet", "grpc", "oidc", "tracing")]
    fixed = (*extras, "pyproject.toml", "--constraints", str(constraints))
    compile_lock(requirements / "image.lock", *fixed, upgrade=[])
    compile_lock(requirements / "image-cuda.lock", "--extra=cuda", *fixed, upgrade=[])
    for name in ("build", "supply-chain", "checkov", "fleet"):
        source = f"requirements/{name}.in"
        compile_lock(requirements / f"{name}.lock", source, upgrade=upgrade)
    compile_lock(requirements / "helm.lock", "--no-deps", "requirements/helm.in", upgrade=upgrade)


if __name__ == "__main__":
    main()
