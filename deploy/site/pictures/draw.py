"""Draws the documentation's pictures into `docs/images`.

`make docs-pictures` runs the commands that write out/pictures, and then this.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import orjson

from deploy.site.pictures import evidence, peeking, request_walk, rollout_states, session_cost
from deploy.site.pictures.canvas import save

ROOT = Path(__file__).resolve().parents[3]
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / "out" / "pictures")
    data = parser.parse_args().data
    save(rollout_states.draw(), IMAGES / "rollout-states.svg")
    save(request_walk.draw(), IMAGES / "request-walk.svg")
    equal, slower = (_read(data / name / "report.json") for name in ("equal", "slower"))
    save(peeking.draw(equal, slower), IMAGES / "peeking.svg")
    save(evidence.draw(_read(data / "evidence" / "traces.json")), IMAGES / "evidence.svg")
    save(session_cost.draw(_read(data / "sessions.json")), IMAGES / "session-cost.svg")


def _read(path: Path) -> Any:
    if not path.exists():
        raise SystemExit(f"{path} is missing: make docs-pictures writes it")
    return orjson.loads(path.read_bytes())


if __name__ == "__main__":
    main()
