"""The check of a built site finds what it looks for."""

from __future__ import annotations

import pytest

from deploy.site.links import faults

GOOD = '<h1 id="top">A</h1><a href="b.html#here">b</a><a href="#top">up</a><a href="https://x.org">x</a>'


def site(folder, body, sheet="p {background: url(data:image/png;base64,AA)}"):
    folder.mkdir(exist_ok=True)
    (folder / "a.html").write_text(f"<html><body>{body}</body></html>")
    (folder / "b.html").write_text('<p id="here">b</p>')
    (folder / "style.css").write_text(sheet)
    return list(faults(folder))


def test_a_site_without_faults_has_none(tmp_path):
    assert [] == site(tmp_path, GOOD + '<img src="style.css" alt="a picture">')


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="c.html">c</a>', "a.html: c.html leads nowhere"),
        ('<a href="b.html#there">b</a>', "a.html: b.html#there names no place on its page"),
        ('<a href="#there">b</a>', "a.html: #there names no place on its page"),
        ('<a href="../../etc/passwd">b</a>', "a.html: ../../etc/passwd leads out of the site"),
        ('<script src="https://x.org/a.js"></script>', "a.html loads https://x.org/a.js"),
        ('<script src="//x.org/a.js"></script>', "a.html loads //x.org/a.js"),
        ('<link rel="stylesheet" href="//x.org/a.css">', "a.html loads //x.org/a.css"),
        ('<img src="https://x.org/a.png" alt="a">', "a.html loads https://x.org/a.png"),
        ('<img src="b.html">', "a.html: the picture b.html has no alternative text"),
    ],
)
def test_a_fault_is_named_with_its_page(tmp_path, body, fault):
    assert [fault] == site(tmp_path, body)


@pytest.mark.parametrize("sheet", ["@import '//x.org/a.css';", "p {src: url(https://x.org/f)}"])
def test_a_style_sheet_that_loads_from_elsewhere_is_a_fault(tmp_path, sheet):
    (fault,) = site(tmp_path, GOOD, sheet)
    assert fault.startswith("style.css loads ")
