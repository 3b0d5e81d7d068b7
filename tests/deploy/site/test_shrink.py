"""The documentation's PNGs: small, and as they were drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw

from deploy.site.pictures.shrink import main, shrink

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.png")), ids=lambda path: path.name)
def test_a_picture_of_the_documentation_takes_at_most_100_kb(path):
    """`python -m deploy.site.pictures.shrink` stores it with a palette."""
    assert path.stat().st_size <= 100_000


@pytest.fixture
def drawn(tmp_path) -> Path:
    """Lines with smooth edges on a transparent ground, as a plot has them."""
    path = tmp_path / "plots" / "gradient.png"
    path.parent.mkdir()
    large = Image.new("RGBA", (1024, 1024))
    draw = ImageDraw.Draw(large)
    for i, colour in enumerate(("firebrick", "royalblue", "seagreen", "orange", "black")):
        draw.line((0, 200 * i, 1023, 1000 - 150 * i), colour, width=8)
    large.resize((256, 256), Image.Resampling.LANCZOS).save(path)
    return path


def test_a_picture_gets_smaller_and_looks_the_same(drawn, capsys):
    white = Image.new("RGBA", (256, 256), "white")
    with Image.open(drawn) as before:
        white.alpha_composite(before)
    size = drawn.stat().st_size
    main(drawn.parent.parent)
    assert drawn.stat().st_size < size
    assert f"{size - drawn.stat().st_size:,} fewer" in capsys.readouterr().out
    with Image.open(drawn) as after:
        difference = ImageChops.difference(white.convert("RGB"), after.convert("RGB"))
    visible = sum(difference.convert("L").histogram()[16:])
    assert visible < 0.001 * 256 * 256


def test_a_picture_with_a_palette_stays_as_it_is(drawn):
    shrink(drawn)
    content = drawn.read_bytes()
    assert shrink(drawn) == 0
    assert content == drawn.read_bytes()
