"""Stores the documentation's PNGs with a palette: `python -m deploy.site.pictures.shrink [FOLDER]`.

A plot has few colours. With 256 of them a file takes about a third, and no difference can be seen.
Run it after copying a picture to docs/images; a file that has a palette already stays as it is.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

COLOURS = 256
PICTURES = Path("docs/images")


def shrink(path: Path) -> int:
    """Store the picture with a palette, if that makes it smaller. Returns the bytes that it saves.

    Transparency is drawn on white.
    """
    before = path.stat().st_size
    with Image.open(path) as picture:
        if picture.mode == "P":
            return 0
        shown = Image.new("RGBA", picture.size, "white")
        shown.alpha_composite(picture.convert("RGBA"))
    reduced = shown.convert("RGB").quantize(
        COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE
    )
    written = io.BytesIO()
    reduced.save(written, "PNG", optimize=True)
    if len(written.getvalue()) >= before:
        return 0
    path.write_bytes(written.getvalue())
    return before - path.stat().st_size


def main(folder: Path = PICTURES) -> None:
    """Shrink every PNG in the folder and below it, and print a line for each that got smaller."""
    for path in sorted(folder.rglob("*.png")):
        if saved := shrink(path):
            print(f"{path}: {path.stat().st_size:,} bytes, {saved:,} fewer")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
