"""The site is built as `make docs` builds it, once, and looked at."""

from __future__ import annotations

import pytest

from deploy.site.build import SiteBuildError, build
from tests.support.sharing import made_once
from tests.support.sources import ROOT
from tests.support.tools import need

pytestmark = need("zensical")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return made_once(tmp_path_factory, "site", lambda folder: build(ROOT, folder / "out")) / "out"


def test_the_site_has_a_page_for_each_of_its_sources(built):
    """`build` fails for a warning, a link that leads nowhere, or anything loaded from elsewhere."""
    sources = {file.relative_to(built / "docs") for file in (built / "docs").rglob("*.md")}
    for source in sources:
        page = source.with_suffix(".html")
        assert (built / "site" / page).exists(), page


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[b](#nowhere)\n")
    settings = (
        "site_name: a\ndocs_dir: docs\nsite_dir: site\ntheme: {name: material, font: false}\n"
    )
    (tmp_path / "mkdocs.yml").write_text(settings)
    for place in ("CONTRIBUTING.md",):
        (tmp_path / place).write_text("# A\n")
    with pytest.raises((SiteBuildError, FileNotFoundError)):
        build(tmp_path, tmp_path / "out")
