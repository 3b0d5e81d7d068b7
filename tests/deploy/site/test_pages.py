"""The site's sources, gathered from the repository."""

from __future__ import annotations

import re

import pytest

from deploy.site.pages import PageLinkError, gather, rewrite_links, site_places
from tests.support.sources import ROOT

PLACES = {
    "docs/index.md": "index.md",
    "docs/how-to/run.md": "how-to/run.md",
    "docs/images/a.svg": "images/a.svg",
    "CHANGELOG.md": "project/changelog.md",
}


@pytest.mark.parametrize(
    ("source", "written", "expected"),
    [
        ("docs/how-to/run.md", "[a](../index.md#b)", "[a](../index.md#b)"),
        ("docs/how-to/run.md", "[a](../../CHANGELOG.md)", "[a](../project/changelog.md)"),
        ("docs/how-to/run.md", "[a](../../README.md)", "[a](../index.md)"),
        ("CHANGELOG.md", "[a](docs/how-to/run.md)", "[a](../how-to/run.md)"),
        ("docs/index.md", "![a picture](images/a.svg)", "![a picture](images/a.svg)"),
        ("docs/index.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
        ("docs/index.md", "[a](#here)", "[a](#here)"),
        ("docs/index.md", "```\n[a](nowhere.md)\n```\n", "```\n[a](nowhere.md)\n```\n"),
    ],
)
def test_a_link_leads_to_the_place_on_the_site(source, written, expected):
    assert expected == rewrite_links(written, source, PLACES)


def test_a_link_to_a_file_that_is_not_on_the_site_is_an_error():
    with pytest.raises(PageLinkError, match=r"docs/index\.md links to \.\./Makefile"):
        rewrite_links("[a](../Makefile)", "docs/index.md", PLACES)


def test_every_page_of_the_repository_has_a_place_and_is_written(tmp_path):
    places = site_places(ROOT)
    assert len(set(places.values())) == len(places)
    gather(ROOT, tmp_path)
    for place in places.values():
        assert (tmp_path / place).stat().st_size


def test_every_page_is_in_the_navigation_but_single_decisions():
    """Records of decisions are reached from their index."""
    named = set(re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]))
    pages = {place for place in site_places(ROOT).values() if place.endswith(".md")}
    assert set() == {page for page in pages - named if not re.match(r"adr/\d", page)}
    assert set() == named - pages
