"""Chromium through Playwright: pages that fail on a script's error, and axe-core in them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def launched_browser():
    """A running Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  the import needs the package

    options = ["--disable-gpu", "--disable-background-networking", "--no-first-run"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        with playwright.chromium.launch(executable_path=chromium, args=options) as launched:
            yield launched


@contextmanager
def page_of(browser, address, **options):
    """A page in a context of its own. An error in one of its scripts fails the test."""
    faults = []
    context = browser.new_context(viewport=WIDE, **options)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.goto(address)
    yield page
    context.close()
    # Chromium itself logs answers over 399 and lost connections, which tests provoke.
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []


def violations(page, *rules) -> list[str]:
    """What axe-core finds wrong with the page: each rule with the elements that break it.

    `rules` limits it to these rules, which is faster.
    """
    if not page.evaluate("'axe' in window"):
        package = importlib.util.find_spec("axe_playwright_python")
        source = Path(package.origin).parent / "axe.min.js"
        page.evaluate(source.read_text(encoding="utf-8"))
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("options => axe.run(options)", options)["violations"]
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]


def photograph(page, name: str) -> None:
    """Save screenshots to the folder in NEXTVEC_SCREENSHOTS, if it is set."""
    folder = os.environ.get("NEXTVEC_SCREENSHOTS")
    if folder is None:
        return
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for kind, size in {"wide": WIDE, "phone": PHONE}.items():
            page.set_viewport_size(size)
            page.screenshot(path=Path(folder) / f"{name}-{scheme}-{kind}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WIDE)
