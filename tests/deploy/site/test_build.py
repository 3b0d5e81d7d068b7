"""The site is built as `make docs` builds it, once, and looked at."""

from __future__ import annotations

import pytest

from deploy.site.build import SiteBuildError, build
from tests.support.sharing import made_once
from tests.support.sources import ROOT
from tests.support.tools import need

pytestmark = [pytest.mark.slow, need("mkdocs")]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return made_once(tmp_path_factory, "site", lambda folder: build(ROOT, folder / "out")) / "out"


def test_the_site_has_a_page_for_each_of_its_sources(built):
    """`build` fails for a warning, a link that leads nowhere, or anything loaded from elsewhere."""
    sources = {file.relative_to(built / "docs") for file in (built / "docs").rglob("*.md")}
    for source in sources:
        page = source.with_name("index.html" if source.stem == "README" else f"{source.stem}.html")
        assert (built / "site" / page).exists(), page


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository of one page, and the function that builds it."""
    monkeypatch.setattr("deploy.site.pages.ELSEWHERE", {})
    (tmp_path / "docs").mkdir()
    settings = "site_name: a\ntheme: {name: material, font: false}\nvalidation: {anchors: warn}\n"
    (tmp_path / "mkdocs.yml").write_text(settings)

    def make(text):
        (tmp_path / "docs" / "index.md").write_text(f"# A\n\n{text}\n")
        return build(tmp_path, tmp_path / "out")

    return make


def test_a_page_is_built(small):
    assert "a sentence" in (small("a sentence") / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[b](#nowhere)", "nowhere"),
        ("![a picture](https://example.org/a.png)", "loads https://example.org/a.png"),
        ("<script src='https://example.org/a.js'></script>", "loads https://example.org/a.js"),
    ],
)
def test_a_page_with_a_fault_fails_the_build(small, text, fault):
    with pytest.raises(SiteBuildError, match=fault):
        small(text)
