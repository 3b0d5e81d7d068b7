"""Runs the tutorial: its commands, in the order of the page, with its output compared.

    python -m deploy.site.tutorial               # the whole page; ten minutes
    python -m deploy.site.tutorial --until "4."  # up to the heading that begins with "4."

A shell block is run. A comment above it can say otherwise: `<!-- tutorial: skip -->` for what the
reader has done already, `service` for the service, which runs to the end, `background` for load,
`stop` for what ends the latest of these, and `exit-3` for commands that end with that status.
A block with a file name as its title is written to that file. The block of text after a shell block
is the output: each of its lines must occur, in this order, with any numbers.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial" / "first-rollout.md"
BLOCK = re.compile(
    r"^(?:<!-- tutorial: (?P<how>[\w-]+) -->\n)?```(?P<kind>\w*)(?: title=\"(?P<file>[^\"]+)\")?\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
VARYING = re.compile(r"[0-9a-f]{32,64}|-?\d[\d,.]*(?:e-?\d+)?|…|\s+")
READY_SECONDS = 120.0


class TutorialError(Exception):
    """A command of the page failed, or printed something else than the page shows."""


@dataclass(frozen=True, slots=True)
class TutorialBlock:
    """A block of the page: commands, the output of those before, or the contents of a file."""

    heading: str
    how: str
    kind: str
    file: str
    text: str


def blocks(page: str) -> Iterator[TutorialBlock]:
    """The blocks of a page in Markdown, each with the heading above it."""
    for found in BLOCK.finditer(page):
        headings = re.findall(r"^## (.+)$", page[: found.start()], re.MULTILINE)
        yield TutorialBlock(
            headings[-1] if headings else "",
            found["how"] or "",
            found["kind"],
            found["file"] or "",
            found["text"],
        )


def missing_line(expected: str, printed: str) -> str | None:
    """The first line of `expected` that `printed` lacks; lines occur in order, with gaps.

    Numbers, digests and white space may differ, and `…` stands for anything.
    """
    lines = iter(printed.splitlines())
    for wanted in expected.splitlines():
        if not wanted.strip():
            continue
        pattern = re.compile(_pattern(wanted.strip()))
        if not any(pattern.search(line) for line in lines):
            return wanted
    return None


def _pattern(line: str) -> str:
    """A regular expression for the line; between the parts that vary it is literal."""
    parts, end = [], 0
    for found in VARYING.finditer(line):
        parts.append(re.escape(line[end : found.start()]))
        end = found.end()
        text = found[0]
        if text == "…":
            parts.append(".*")
        elif text.isspace():
            parts.append(r"\s+")
        elif len(text) >= 32:
            parts.append("[0-9a-f]+")
        else:
            parts.append(r"-?\d[\d,.]*(?:e-?\d+)?")
    return "".join([*parts, re.escape(line[end:])])


class TutorialRun:
    """A run of the page in a folder of its own, with the processes that it has started."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self.exports: list[str] = []
        self.running: list[subprocess.Popen[str]] = []
        self.printed = ""
        for name in ("checkpoints", "corpora"):
            (folder / name).symlink_to(ROOT / name)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            "PATH": path,
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "NEXTVEC_PORT": str(port),
            "NEXTVEC_URL": self.url,
        }

    def step(self, block: TutorialBlock) -> None:
        """Run, write or compare one block. Raises `TutorialError`."""
        if block.file:
            (self.folder / block.file).write_text(block.text)
        elif block.how == "stop":
            self._stop(self.running.pop())
        elif block.kind == "sh" and block.how != "skip":
            self._run(block)
        elif block.kind == "text" and self.printed:
            line = missing_line(block.text, self.printed)
            if line is not None:
                raise TutorialError(f"{block.heading}: no line like\n{line}\nin\n{self.printed}")

    def _run(self, block: TutorialBlock) -> None:
        commands = [line for line in block.text.splitlines() if "source .venv" not in line]
        script = "\n".join(["set -e", *self.exports, *commands])
        script = script.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        script = script.replace("nextvec loadtest", f"nextvec loadtest --url {self.url}")
        self.exports += [line for line in commands if line.startswith("export ")]
        if block.how in {"service", "background"}:
            if block.how == "service" and self._answers():
                raise TutorialError(f"another service answers at {self.url}; stop it")
            self._start(script)
            if block.how == "service":
                self._wait_until_ready()
            return
        done = subprocess.run(  # noqa: S603
            ["/bin/bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.printed = done.stdout + done.stderr
        if done.returncode != int(block.how.removeprefix("exit-") if "exit-" in block.how else 0):
            raise TutorialError(
                f"{block.heading}: exit {done.returncode}\n{block.text}{self.printed}"
            )

    def _start(self, script: str) -> None:
        self.printed = ""
        with (self.folder / "background.log").open("a") as log:
            self.running.append(
                subprocess.Popen(  # noqa: S603
                    ["/bin/bash", "-c", script.replace(" &\n", "\n").removesuffix(" &")],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.running[-1].poll() is None:
            if self._answers():
                return
            time.sleep(0.2)
        log = (self.folder / "background.log").read_text()
        raise TutorialError(f"the service is not ready:\n{log}")

    def _answers(self) -> bool:
        """Whether a service is ready at the address."""
        try:
            return httpx.get(f"{self.url}/v2/health/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """End what the page has started."""
        for process in self.running:
            self._stop(process)

    def _stop(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def run(
    page: str, folder: Path, *, until: str | None = None, skip: str | None = None, port: int = 8080
) -> Sequence[tuple[str, float]]:
    """Run the page up to the heading that begins with `until`; the seconds of each heading.

    The section whose heading begins with `skip` is left out. Raises `TutorialError`.
    """
    begun = TutorialRun(folder, port)
    times: dict[str, float] = {}
    try:
        for block in blocks(page):
            if until is not None and block.heading.startswith(until):
                break
            if skip is not None and block.heading.startswith(skip):
                continue
            started = time.monotonic()
            begun.step(block)
            times[block.heading] = times.get(block.heading, 0.0) + time.monotonic() - started
    finally:
        begun.close()
    return list(times.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--until", help='Stop at the heading that begins so, for example "4."')
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            times = run(PAGE.read_text(), Path(folder), until=given.until, port=given.port)
        except TutorialError as error:
            raise SystemExit(f"the tutorial does not hold: {error}") from error
    for heading, seconds in times:
        print(f"{seconds:6.1f} s  {heading}")


if __name__ == "__main__":
    main()
