"""The one-time link of the console, in a real browser on the real server."""

from __future__ import annotations

from tests.support.browser import launched_browser, page_of
from tests.support.tools import need

pytestmark = need("playwright", "chromium")

CODE = "a-code-of-the-tests"


def test_the_link_opens_the_console_once(serve):
    """The code leaves the address at once; the tab stays logged in, another one does not get in."""
    with serve(NEXTVEC_ADMIN__LOGIN_CODE=CODE) as server, launched_browser() as browser:
        link = f"{server.client.base_url}/console#login={CODE}"
        with page_of(browser, link) as page:
            page.locator("#console").wait_for()
            assert ("", "approver") == (
                page.evaluate("location.hash"),
                page.locator("#role").inner_text().split()[-1],
            )
            page.reload()
            page.locator("#console").wait_for()
        with page_of(browser, link) as page:
            page.get_by_text("has been used").wait_for()
            assert page.locator("#sign-in").is_visible()
            assert "" == page.evaluate("location.hash")
        assert CODE not in server.log.read_text()
