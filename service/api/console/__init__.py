"""`/console`: the rollout in a browser. Self-contained: no build, no CDN, no fonts.

The page is public and contains no data. Everything it shows comes from the admin
API, with the token that the user enters. The files do not change while the service
runs.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response

from service.errors import NotFound, quoted

router = APIRouter(prefix="/console", tags=["console"], include_in_schema=False)

PAGE = "page.html"
SCRIPTS = (
    *("api.js", "banner.js", "cards.js", "charts.js", "dialog.js", "dom.js", "guardrails.js"),
    *("history.js", "main.js", "outlook.js", "start.js", "steps.js", "verbs.js", "view.js"),
    "words.js",
)
FILES = {
    "console.css": "text/css; charset=utf-8",
    **dict.fromkeys(SCRIPTS, "text/javascript; charset=utf-8"),
}
"""Media type of each file that the page loads. No other file is served."""

HEADERS = {
    # Only scripts and styles from this origin, none inline; no requests to other origins;
    # no framing, which prevents clickjacking. The last directive makes the browser refuse
    # to parse text as HTML, because names and reasons are untrusted.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Revalidate each time, so that an upgrade never mixes old and new files.
    "Cache-Control": "no-cache",
}


@router.get("")
async def page() -> Response:
    """Return the page."""
    return Response(_content(PAGE), media_type="text/html; charset=utf-8", headers=HEADERS)


@router.get("/{name}")
async def file(name: str) -> Response:
    """Return a script or the style sheet. Raises `NotFound`."""
    if name not in FILES:
        raise NotFound(f"the console has no file {quoted(name)}; its page is at /console")
    return Response(_content(name), media_type=FILES[name], headers=HEADERS)


@cache
def _content(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()
